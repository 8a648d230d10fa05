/**
 * Writes docs/counters.md from the drop reasons (stack/drop.ts) and the published counters (src/workers/stats.ts).
 * Run it after changing either: `npx tsx scripts/gen-counters-docs.ts`. A test compares the file with what this makes.
 */
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { COUNTER_NAMES } from '../src/workers/stats.ts';
import { DROP_REASONS, type DropInfo } from '../stack/drop.ts';

export const COUNTERS_DOC = new URL('../docs/counters.md', import.meta.url);

/** Where on its way a frame was dropped, by the name of the reason; the first that fits. */
const STAGES: readonly (readonly [RegExp, string, string])[] = [
  [
    /^(runt|oversize|pool_empty|tx_full|link_\w+|not_for_us|ethertype)$/,
    'Ports and Ethernet',
    '`stack/netif`, `stack/ethernet`',
  ],
  [/^(arp|neigh)_/, 'ARP and neighbours', '`stack/neigh`'],
  [/^ip_/, 'IPv4', '`stack/ipv4`'],
  [/^frag_/, 'Reassembly', '`stack/ipv4/reassemble.ts`'],
  [/^icmp_/, 'ICMP', '`stack/icmp`'],
  [/^tunnel_/, 'Tunnels', '`stack/ipv4/ipip.ts`'],
  [/^udp_/, 'UDP', '`stack/udp`'],
  [/^tcp_/, 'TCP', '`stack/tcp`'],
  [/^lb_/, 'The layer-4 director', '`lb/core.ts`, `lb/xmit`'],
  [/^/, 'Middleware and closing', '`stack/netif/middleware`, and whatever held frames when it was closed'],
];

const KINDS: Record<DropInfo['kind'], string> = {
  peer: 'a sender did it; a few are the background noise of any network',
  limit: 'a bound of ours was met: too much load, an attack, or a bound that is too small',
  config: 'something an operator can put right: a link, a route, an address, a server',
};

/** What each counter counts. A new counter needs its sentence here; one that is gone must leave. */
const COUNTERS: Readonly<Record<string, string>> = {
  'port.rxFrames': 'Frames read from all ports. One GSO frame counts once.',
  'port.rxBytes': 'Their bytes, Ethernet headers included.',
  'port.txFrames': 'Frames written to all ports. One GSO frame counts once.',
  'port.txBytes': 'Their bytes.',
  'port.merged':
    'TCP segments passed on by layer 4 or forwarding that left as a part of the GSO frame of one before them.',
  'port.missed':
    'Frames that the system dropped before tsvs could read them, as far as it tells (links of kind tap, packet and xdp). Not among received.',
  'port.downs': 'Times that a link was lost: set down, without a carrier, deleted, or its other side gone.',
  'icmp.echoes': 'Echo requests answered.',
  'icmp.errors': 'ICMP errors sent.',
  'ipip.packets': 'Packets taken out of IPIP tunnels that end here.',
  'tcp.open': 'Connections now, half-open and closing ones included.',
  'tcp.parked': 'Those of them that are quiet and have given their control block back.',
  'tcp.timeWait': 'Rows in TIME_WAIT now.',
  'tcp.timeWaitRecycled': 'TIME_WAIT rows given up before their time because the table was full.',
  'pool.inUse': 'Frames that are not free now: the `held` of the conservation law.',
  'pool.freeSmall': 'Free 2 KB slots now.',
  'pool.freeBig': 'Free 68 KB slots now.',
  'loop.turns': 'Turns of the worker loop.',
  'loop.sleeps': 'Times it slept in poll(2).',
  'sched.fallbacks':
    'Schedulers from files that were given up while tsvs runs, once for each service; `wlc` took over.',
  'proxy.open': 'Sessions open now.',
  'l4.open': 'Connections of layer 4 now, those that are over but remembered included.',
  'l4.icmpErrors': 'ICMP errors about connections of layer 4, translated.',
  'l4.opened': 'Connections of layer 4 begun.',
  'l4.expired': 'Those that ended because nothing came for them any more.',
  'l4.reused': 'Those that a fresh SYN of the same client and port ended.',
  'l4.quiesced': 'Those that ended because their server was drained or gone (`expire_quiescent`).',
  'l4.persisted': 'Connections that went to the server that a persistence template named.',
  'l4.templatesInvalid':
    'Templates that no longer held when their client came back: the server was gone, failing or drained.',
  'l4.templatesFull':
    'Connections of persistent services that nothing remembers, because the table of templates was full.',
  'l4.noServer': 'Connections refused because no server could be chosen: see `lb_no_server`.',
  'l4.noLocalPort': 'Those refused for want of a local port: see `lb_no_local_port`.',
  'l4.tableFull': 'Those refused because the table was full: see `lb_conn_full`.',
  'l4.clashes': 'Those refused because another had the same tuple: see `lb_conn_clash`.',
  'l4.resets': 'Resets sent to the two ends of connections given up.',
  'tcp.activeOpens': 'Connections begun by us: to servers.',
  'tcp.passiveOpens': 'Connections begun by SYNs we accepted: by clients.',
  'tcp.attemptFails': 'Connections that ended before they were established: refused, reset, unreachable or silent.',
  'tcp.estabResets': 'Established connections the peer has reset.',
  'tcp.inSegs': 'Segments received. One GSO frame counts once.',
  'tcp.outSegs': 'Segments sent, before they are cut to size.',
  'tcp.retransSegs': 'Segments sent again, SYN and SYN-ACK included.',
  'tcp.outRsts': 'Resets sent.',
  'tcp.timeouts': 'Retransmission time-outs of established connections.',
  'tcp.fastRecoveries': 'Times fast recovery began.',
  'tcp.lossProbes': 'Tail loss probes sent (RFC 8985 §7).',
  'tcp.undos': 'Reductions of the window taken back: the time-out or recovery proved spurious.',
  'tcp.dsacksIn': 'Duplicates that peers reported to us (RFC 2883): sent again in vain, or doubled by the network.',
  'tcp.dsacksOut': 'Duplicates that we reported to peers.',
  'tcp.challengeAcks': 'Acknowledgments sent in answer to something suspicious (RFC 5961).',
  'tcp.cookiesSent': 'SYNs answered with a SYN cookie, because too many connections were half open.',
  'tcp.cookiesAccepted': 'Connections opened by a cookie that came back.',
  'tcp.cookiesFailed':
    'Acknowledgments that brought a wrong or old cookie: answered with a reset. A guess, or a late client.',
  'tcp.listenDrops': 'SYNs dropped for want of room: see `tcp_backlog` and `tcp_table_full`.',
  'tcp.portsExhausted': 'Connects refused because no local port was found towards that peer.',
  'tcp.blackHoles': 'Times a connection went over to smaller segments because large ones vanished without a word.',
  'tcp.ecnReductions': 'Reductions of the window because the peer echoed a mark of congestion (RFC 3168).',
  'tcp.zeroWindowProbes': 'Probes of a closed window.',
  'health.passed': 'Health checks that passed.',
  'health.failed': 'Health checks that failed.',
  'health.skipped': 'Health checks not begun for want of a local port or control block of ours.',
  'health.wentDown': 'Servers taken out of service by health checks.',
  'health.cameUp': 'Servers put back into service by health checks.',
  'proxy.accepted': 'Client connections accepted.',
  'proxy.finished': 'Sessions that are over, however they ended.',
  'proxy.clientAborts': 'Sessions ended by a reset or time-out of the client.',
  'proxy.serverAborts': 'Sessions ended by a reset or time-out of the server.',
  'proxy.timeouts': 'Sessions ended by an idle limit of the configuration.',
  'proxy.drained': 'Sessions reset at the end of a drain.',
  'proxy.connectFailures': 'Connections to servers that failed.',
  'proxy.retries': 'Of those, how often another server was tried.',
  'proxy.noServer': 'Clients reset because no server could be chosen.',
  'proxy.evicted': 'Sessions ended because frames ran short and they held many for long.',
  'proxy.untrusted': 'Clients reset because they are not among those of `accept_proxy`.',
  'proxy.badHeaders': 'Clients reset because they did not begin with a PROXY header, or not in time.',
  'proxy.logLost': 'Sessions that are missing in the access log because it could not keep up.',
  'proxy.queued': 'Sessions that waited for a server with room (`max_connections`).',
  'proxy.queueTimeouts': 'Of those, how many waited in vain (`queue_timeout`).',
  'proxy.tableFull': 'Clients reset because the session table was full.',
};

function stageOf(name: string): string {
  return STAGES.find(([pattern]) => pattern.test(name))![1];
}

function dropTables(): string {
  return STAGES.map(([, title, where]) => {
    const rows = DROP_REASONS.filter((r, i) => i > 0 && stageOf(r.name) === title);
    return [
      `### ${title}`,
      '',
      `Dropped in ${where}.`,
      '',
      '| reason | kind | meaning |',
      '| --- | --- | --- |',
      ...rows.map(({ name, kind, sentence }) => `| \`${name}\` | ${kind} | ${sentence} |`),
    ].join('\n');
  }).join('\n\n');
}

function counterTable(): string {
  const unknown = COUNTER_NAMES.filter((name) => COUNTERS[name] === undefined);
  const gone = Object.keys(COUNTERS).filter((name) => !COUNTER_NAMES.includes(name));
  if (unknown.length + gone.length > 0) {
    throw new Error(
      `scripts/gen-counters-docs.ts lacks a sentence for [${unknown}], and has one too many for [${gone}]`,
    );
  }
  return [
    '| counter | meaning |',
    '| --- | --- |',
    ...COUNTER_NAMES.map((name) => `| \`${name}\` | ${COUNTERS[name]} |`),
  ].join('\n');
}

/** The whole page. */
export function renderCountersDoc(): string {
  return `<!-- Generated by scripts/gen-counters-docs.ts from stack/drop.ts and src/workers/stats.ts. Change those, then run the script. -->

# Counters and drop reasons

No frame vanishes without a reason. \`tsvs drops\` shows how many frames were dropped and why, \`tsvs stats\` shows the rest; both take \`--json\`.
All numbers count from the start of tsvs. Those marked "now" are levels, which go up and down.

## Fates

Every frame has exactly one end, so at any time

\`\`\`
received + created = sent + delivered + dropped + held
\`\`\`

| fate | meaning |
| --- | --- |
| received | Read from a port. |
| created | Made by the stack: replies, segments, ARP packets, pieces of a large frame, what holds the payload of segments merged into one, a reassembled datagram. |
| sent | The bytes have left through a port. |
| delivered | The content arrived where it was going: a socket, the other connection of a session, a datagram or a large frame put together from it. |
| dropped | Ended early, for one of the reasons below. |
| held | Waiting: to be sent, for a neighbour's address, for the other fragments, to be read, or to be acknowledged. |

## Drop reasons

The kind says who has to do something about it:

${Object.entries(KINDS)
  .map(([kind, text]) => `- **${kind}**: ${text}.`)
  .join('\n')}

${dropTables()}

## Counters

Published by the worker about every 50 ms and before it sleeps. The names under \`tcp.\` follow RFC 4022 where it has them.

${counterTable()}
`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(COUNTERS_DOC, renderCountersDoc());
}
