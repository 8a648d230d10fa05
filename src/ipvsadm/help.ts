/** `-h` and `--version`. The line of the version is the one of the tool whose grammar this is: scripts read it. */

export const versionText = (): string => 'ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n';

const USAGE = [
  '-A|E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-b FLAGS] [-o]',
  '-D SERVICE',
  '-a|e SERVICE -r SERVER [-g|-i|-m|-b|-J] [-w WEIGHT] [-x UPPER] [-y LOWER] [tunnel options]',
  '-d SERVICE -r SERVER',
  '-C',
  '-L|-l [SERVICE] [-n] [--stats|--rate|--thresholds|--persistent-conn|--tun-info] [--exact] [--nosort]',
  '-L -c [-n] [--persistent-conn] [--sockpair PAIR] | -L --timeout | -L --daemon',
  '-Z [SERVICE]',
  '-S [-n]',
  '-R',
  '--set TCP TCPFIN UDP',
  '-P|Q SERVICE -z ADDRESS -F DEVICE, -G [SERVICE]',
  '-U|V SERVICE -k SUBJECT, -B [SERVICE]',
  '-O|Y SERVICE -2 SUBJECT, -W [SERVICE]',
  '--start-daemon|--stop-daemon {master|backup} [daemon options]',
  '-h, -v',
];

const COMMANDS: [string, string, string][] = [
  ['-A', '--add-service', 'make a virtual service'],
  ['-E', '--edit-service', 'replace its settings; what is not given is set back'],
  ['-D', '--delete-service', 'take it away'],
  ['-C', '--clear', 'take all services away'],
  ['-a', '--add-server', 'give a service a real server'],
  ['-e', '--edit-server', 'replace its settings; what is not given is set back'],
  ['-d', '--delete-server', 'take it away; its connections drain'],
  ['-L', '--list', 'show services, connections or timeouts (also -l)'],
  ['-Z', '--zero', 'set counters to 0, of one service or of all'],
  ['-S', '--save', 'print the table as commands'],
  ['-R', '--restore', 'read commands from standard input; lines that begin with # are skipped'],
  ['', '--set', 'timeouts in seconds: established TCP, TCP after FIN, UDP; 0 keeps one'],
  ['-P', '--add-laddr', 'add a local address for fullnat and snat'],
  ['-Q', '--del-laddr', 'take it away'],
  ['-G', '--get-laddr', 'show local addresses'],
  ['-U', '--add-blklst', 'deny a client or a set of them'],
  ['-V', '--del-blklst', 'take that back'],
  ['-B', '--get-blklst', 'show who is denied'],
  ['-O', '--add-whtlst', 'allow a client or a set of them, and nobody else'],
  ['-Y', '--del-whtlst', 'take that back'],
  ['-W', '--get-whtlst', 'show who is allowed'],
  ['', '--start-daemon', 'synchronize connections: not supported yet'],
  ['', '--stop-daemon', 'end that'],
  ['-h', '--help', 'this text'],
  ['-v', '--version', 'the version'],
];

const SERVICES: [string, string, string][] = [
  ['-t', '--tcp-service', 'ADDRESS:PORT'],
  ['-u', '--udp-service', 'ADDRESS:PORT'],
  ['', '--sctp-service', 'ADDRESS:PORT'],
  ['-q', '--icmp-service', 'ADDRESS'],
  ['-1', '--icmpv6-service', 'ADDRESS'],
  ['-f', '--fwmark-service', 'MARK above 0; then -6, --ipv6 for IPv6'],
  ['-H', '--match', 'proto=tcp|udp|icmp|any,src-range=A-B:p-q,dst-range=...,iif=...,oif=...'],
];

const OPTIONS: [string, string, string][] = [
  ['-s', '--scheduler', 'rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh conhash; wlc if not given'],
  ['-b', '--sched-flags', 'with -A and -E: sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3'],
  ['-p', '--persistent', 'a client keeps its server for so many seconds, 360 if not given'],
  ['-M', '--netmask', 'how much of a client address persistence looks at'],
  ['', '--pe', 'persistence engine: sip'],
  ['-o', '--ops', 'a decision for each datagram (UDP)'],
  ['-j', '--synproxy', 'enable or disable'],
  ['', '--conn-timeout', 'seconds for the established connections of this service'],
  ['', '--proxy-protocol', 'disable, v1, v2, v1-insecure, v2-insecure'],
  ['', '--hash-target', 'of conhash: sip (source address), qid (QUIC connection id) or 5tuple'],
  ['', '--expire-quiescent', 'a server of weight 0 loses its connections'],
  ['', '--quic', 'the service speaks QUIC'],
  ['', '--dest-check', 'disable, default, tcp, udp, sctp, ping, or 1,1,3s,5-3600s, or 1,3s'],
  ['-r', '--real-server', 'ADDRESS[:PORT]'],
  ['-g', '--gatewaying', 'direct routing (if not given)'],
  ['-i', '--ipip', 'tunnel'],
  ['-m', '--masquerading', 'NAT'],
  ['-b', '--fullnat', 'with -a and -e: NAT of both addresses'],
  ['-J', '--snat', 'NAT of the source address'],
  ['', '--tun-type', 'ipip (if not given), gue, gre'],
  ['', '--tun-port', 'UDP port of gue'],
  ['', '--tun-nocsum', 'gue, gre: no checksum (also --tun-csum, --tun-remcsum)'],
  ['-w', '--weight', '0 to 2147483647, 1 if not given; 0 gets no new connections'],
  ['-x', '--u-threshold', 'no new connections at so many'],
  ['-y', '--l-threshold', '... until they are fewer than this'],
  ['-z', '--laddr', 'local address, with -F, --ifname'],
  ['-k', '--blklst', 'ADDRESS or ipset:NAME (-2, --whtlst for the allow list)'],
  ['-n', '--numeric', 'addresses and ports as numbers'],
  ['-c', '--connection', 'list connections'],
  ['', '--stats', 'totals'],
  ['', '--rate', 'rates per second'],
  ['', '--thresholds', 'thresholds'],
  ['', '--persistent-conn', 'connections that persistence holds'],
  ['', '--tun-info', 'tunnels'],
  ['', '--timeout', 'timeouts'],
  ['', '--daemon', 'synchronization'],
  ['', '--exact', 'numbers in full'],
  ['', '--nosort', 'in the order of the table (--sort is accepted)'],
  ['', '--sockpair', 'one connection: PROTO:IP:PORT:IP:PORT; --cpu shows all in the same form'],
];

const DAEMON_OPTIONS: [string, string, string][] = [
  ['', '--mcast-interface', 'eth0 if not given'],
  ['', '--mcast-group', '224.0.0.81 if not given'],
  ['', '--mcast-port', '8848 if not given'],
  ['', '--mcast-ttl', '1 if not given'],
  ['', '--syncid', '0 to 255'],
  ['', '--sync-maxlen', '1 to 65507 bytes, 1472 if not given'],
];

export function helpText(program: string): string {
  const rows = (title: string, table: [string, string, string][]): string =>
    `\n${title}:\n${table.map(([short, long, text]) => `  ${long.padEnd(18)} ${short.padEnd(3)} ${text}\n`).join('')}`;
  return [
    versionText(),
    'Usage:\n',
    ...USAGE.map((line) => `  ${program} ${line}\n`),
    rows('Commands', COMMANDS),
    rows('SERVICE', SERVICES),
    rows('Options', OPTIONS),
    rows('Daemon options', DAEMON_OPTIONS),
  ].join('');
}
