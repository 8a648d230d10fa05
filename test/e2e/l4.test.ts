/**
 * Layer 4 with the kernel's own TCP at both ends: FullNAT, direct routing and NAT through tsvs on a TAP with offloads, and
 * FullNAT beside the proxy on one VIP. The servers of direct routing have the VIP on their loopback interface.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DropsReply, PATHS, type StatsReply } from '../../src/control/api.ts';
import { ask } from '../../src/control/client.ts';
import { Net, type Running, SWITCH } from '../lib/netns.ts';
import { patternHash } from '../lib/pattern.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'curl', 'ethtool', 'sha256sum', 'ss'), test);

const VIP = '10.9.0.10';
const PORT = 80;
const BYTES = 20_000_000;

const service = (name: string, port: number, lines: readonly string[], rport = PORT): string => `[service ${name}]
ip = ${VIP}
ports = ${port}
scheduler = rr
${lines.join('\n')}
count = 2
server1 = 10.9.0.11:${rport}:1:00:00:00:00:00:00
server2 = 10.9.0.12:${rport}:1:00:00:00:00:00:00
`;

/** Client, two HTTP servers and tsvs. */
class Layer4Lab {
  readonly net: Net;
  private readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-l4-'));
  private tsvs: Running | null = null;

  constructor() {
    const hosts = { client: '10.9.0.1/24', rs1: '10.9.0.11/24', rs2: '10.9.0.12/24' };
    const plans = Object.entries(hosts).map(([name, address]) => [name, { address }] as const);
    this.net = new Net({ hosts: Object.fromEntries(plans), taps: ['tap0'] });
  }

  async start(services: string, offload: 'on' | 'off' = 'on'): Promise<void> {
    const config = join(this.folder, 'lb.conf');
    const link = `[link lan]\nkind = tap\ndevice = tap0\noffload = ${offload}\nmac = 02:00:00:64:00:0a\n`;
    writeFileSync(config, `${link}[network]\nnetmask = 255.255.255.0\nlocal_address = 10.9.0.2\n${services}`);
    await Promise.all([1, 2].map((i) => this.net.startRealServer(`rs${i}`, `rs-${i}`, PORT)));
    this.tsvs = await this.net.startTsvs(config);
  }

  /** As an operator prepares a server: commands in each one's namespace. */
  async onServers(...commands: string[]): Promise<void> {
    for (const place of ['rs1', 'rs2']) {
      const { code, stderr } = await this.net.exec(place, ['sh', '-c', commands.join(' && ')]);
      assert.is(code, 0, stderr);
    }
  }

  /** Every host sends and receives frames as they are on a wire: whole checksums, a segment each. */
  async switchOffloadsOff(): Promise<void> {
    const off = ['rx', 'tx', 'sg', 'tso', 'gso', 'gro'].flatMap((name) => [name, 'off']);
    for (const host of ['client', 'rs1', 'rs2']) {
      for (const [place, device] of [[host, 'eth0'] as const, [SWITCH, host] as const]) {
        const { code, stderr } = await this.net.exec(place, ['ethtool', '-K', device, ...off]);
        assert.is(code, 0, stderr);
      }
    }
  }

  async curl(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.net.exec('client', ['curl', '-sS', '-f', '--max-time', '20', ...words]);
    assert.is(code, 0, `${stderr}${this.tsvs?.output ?? ''}`);
    return stdout.trim();
  }

  /** Which servers answer `n` requests, each over a connection of its own. */
  async answers(n: number, port = PORT): Promise<string[]> {
    const found: string[] = [];
    for (let i = 0; i < n; i++) found.push(await this.curl(`http://${VIP}:${port}/`));
    return found.sort();
  }

  /** The hash of a large download. */
  async download(port = PORT): Promise<string> {
    const script = `curl -sS -f http://${VIP}:${port}/bytes/${BYTES} | sha256sum | cut -d' ' -f1`;
    const { code, stdout, stderr } = await this.net.exec('client', ['bash', '-o', 'pipefail', '-c', script]);
    assert.is(code, 0, stderr);
    return stdout.trim();
  }

  stats(): Promise<StatsReply> {
    return ask(this.net.socketPath(), PATHS.stats);
  }

  drops(): Promise<DropsReply> {
    return ask(this.net.socketPath(), PATHS.drops);
  }

  /** tsvs ends in order, every frame accounted for. */
  async close(): Promise<void> {
    const frames = (await this.stats()).frames;
    assert.is(frames.received + frames.created, frames.sent + frames.delivered + frames.dropped + frames.held);
    assert.is(await this.tsvs!.stop(), 0, this.tsvs!.output);
    await this.net.close();
  }

  remove(): void {
    this.net.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function scene(name: string, body: (lab: Layer4Lab) => Promise<void>): void {
  add(name, async () => {
    const lab = new Layer4Lab();
    try {
      await body(lab);
      await lab.close();
    } finally {
      lab.remove();
    }
  });
}

const counts = { 'l4.noServer': 0, 'l4.noLocalPort': 0, 'l4.tableFull': 0, 'l4.clashes': 0 };

async function check(lab: Layer4Lab, opened: number): Promise<void> {
  const { counters } = await lab.stats();
  assert.is(counters['l4.opened'], opened, JSON.stringify((await lab.drops()).drops));
  for (const [name, n] of Object.entries(counts)) assert.is(counters[name], n, name);
}

for (const offload of ['on', 'off'] as const)
  scene(`FullNAT, servers know nothing of it, offload ${offload}`, async (lab) => {
    await lab.start(service('web', PORT, ['mode = fnat', 'local_address = 10.9.0.20, 10.9.0.21']), offload);
    assert.equal(await lab.answers(4), ['rs-1', 'rs-1', 'rs-2', 'rs-2']);
    assert.is(await lab.download(), patternHash(BYTES));
    await check(lab, 5);
  });

scene(
  'FullNAT, segments that come one by one leave together, and the kernel cuts them into what they were',
  async (lab) => {
    await lab.switchOffloadsOff();
    await lab.start(service('web', PORT, ['mode = fnat', 'local_address = 10.9.0.20']));
    assert.is(await lab.download(), patternHash(BYTES));
    const { counters } = await lab.stats();
    const merged = counters['port.merged']!;
    assert.ok(merged > BYTES / 1460 / 4, `${merged} segments were merged`);
    const { stdout } = await lab.net.exec('client', ['sh', '-c', "awk '/^Tcp: [0-9]/ { print $NF }' /proc/net/snmp"]);
    assert.is(stdout.trim(), '0', 'segments with a wrong checksum');
    await check(lab, 1);
  },
);

scene('FullNAT, timestamps taken out or translated: what the kernels at both ends make of it', async (lab) => {
  const own = ['mode = fnat', 'local_address = 10.9.0.20'];
  await lab.start(service('web', PORT, [...own, 'timestamps = translate']) + service('bare', 81, own));
  assert.is(await lab.download(), patternHash(BYTES));
  const segmentSize = async (port: number): Promise<number> => {
    const { stdout } = await lab.net.exec('client', ['ss', '-tinH', 'state', 'established', 'dport', '=', `:${port}`]);
    return Number(/\bmss:(\d+)/.exec(stdout)?.[1]);
  };
  // Timestamps take twelve bytes of each segment.
  for (const [port, size] of [
    [PORT, 1448],
    [81, 1460],
  ] as const) {
    const open = `exec 3<>/dev/tcp/${VIP}/${port}; printf "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" >&3; head -1 <&3; echo open; exec cat <&3`;
    const client = lab.net.start('client', ['bash', '-c', open]);
    await client.waitFor(/open/);
    assert.is(await segmentSize(port), size, `port ${port}`);
    await client.stop();
  }
  // A connection after another from the one local address: the server, in TIME_WAIT or not, takes each.
  const many = `for i in $(seq 10); do curl -sS -f -o /dev/null --max-time 5 http://${VIP}/ || exit 1; done`;
  assert.is((await lab.net.exec('client', ['bash', '-c', many])).code, 0);
  await check(lab, 13);
});

scene('direct routing, the VIP on lo of the servers, arp_ignore = 1, arp_announce = 2', async (lab) => {
  await lab.onServers(
    'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore',
    'echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce',
    `ip addr add ${VIP}/32 dev lo`,
  );
  await lab.start(service('web', PORT, ['mode = dr']));
  assert.equal(await lab.answers(4), ['rs-1', 'rs-1', 'rs-2', 'rs-2']);
  assert.is(await lab.download(), patternHash(BYTES));
  await check(lab, 5);
  const { services } = await lab.stats();
  // The answers went past us: a few acknowledgments came by, not twenty megabytes.
  assert.is(services[0]!.toClients, 0);
});

scene('NAT, the servers answer through us', async (lab) => {
  // One subnet: the client is reached through tsvs, and redirects that would say otherwise are not believed.
  await lab.onServers(
    'echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects',
    `ip route add 10.9.0.1/32 via ${VIP} dev eth0`,
  );
  await lab.start(service('web', 8080, ['mode = nat']));
  assert.equal(await lab.answers(4, 8080), ['rs-1', 'rs-1', 'rs-2', 'rs-2']);
  assert.is(await lab.download(8080), patternHash(BYTES));
  await check(lab, 5);
});

scene('FullNAT and the proxy side by side on one VIP', async (lab) => {
  const fast = service('fast', 81, ['mode = fnat', 'local_address = 10.9.0.20']);
  await lab.start(service('web', PORT, ['mode = proxy']) + fast);
  assert.equal(await lab.answers(2), ['rs-1', 'rs-2']);
  assert.equal(await lab.answers(2, 81), ['rs-1', 'rs-2']);
  assert.is(await lab.download(81), patternHash(BYTES));
  assert.is(await lab.download(), patternHash(BYTES));
  assert.is((await lab.stats()).counters['proxy.accepted'], 3);
  await check(lab, 3);
});

test.run();
