/**
 * Where ours differs from the recording on purpose. `stdout`, `stderr`, `exitCode`: what ours gives where that differs. `after`: what
 * brings the table back to the recorded one. Each is listed in docs/ipvsadm.md.
 */
export interface Deviation {
  readonly case: string;
  readonly command: string;
  readonly reason: string;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly exitCode?: number;
  readonly after?: string;
}

const NOTHING_LOST = 'what -S prints must give the same table back';
const LONG_NAMES = 'a name that is cut loses its port';
const DPVS_OPTION = 'the option is one of DPVS';
const LONG = 'a-virtual-service-with-a-very-long-name.lb.example.org:https';
const UNTIL_LONG = [
  '-A -t www.lb.example.org:http -s rr',
  '-a -t www.lb.example.org:http -r rs1.lb.example.org:http -m -w 1',
  '-a -t www.lb.example.org:http -r rs2.lb.example.org:tproxy -m -w 2',
  '-a -t www.lb.example.org:http -r a-real-server-with-a-very-long-name.lb.example.org:http-alt -m -w 3',
  '-a -t www.lb.example.org:http -r 192.168.0.99:https -m -w 1',
  `-A -t ${LONG} -s wlc`,
  '-A -u www.lb.example.org:domain -s rr',
  '-A -u www.lb.example.org:https -s rr',
  '-A -t [v6.lb.example.org]:http -s rr',
  '-a -t [v6.lb.example.org]:http -r [rs1-v6.lb.example.org]:http -m -w 1\n',
].join('\n');
const SH = '-A -t 10.0.1.100:80 -s sh -b flag-3\n';

export const DEVIATIONS: readonly Deviation[] = [
  { case: '02', command: 'ipvsadm -Lq', reason: DPVS_OPTION, stderr: '-Lq: missing argument\n' },
  { case: '02', command: 'ipvsadm -Ln --sockpair', reason: DPVS_OPTION, stderr: '--sockpair: missing argument\n' },
  { case: '16', command: 'ipvsadm -S', reason: LONG_NAMES, stdout: UNTIL_LONG },
  { case: '16', command: 'ipvsadm-save', reason: LONG_NAMES, stdout: UNTIL_LONG },
  {
    case: '20',
    command: "ipvsadm -R <<'EOF'",
    reason:
      'a line that begins with # is skipped, as ipvsadm-restore does; a comment after a command is still an error',
    stderr: 'unexpected argument #\n',
    exitCode: 2,
    after: 'ipvsadm -C',
  },
  {
    case: '26',
    command: 'ipvsadm -S -n | ipvsadm -R',
    reason: 'marks from 2^31 are printed unsigned, and can be read',
    stderr: 'Service already exists\n',
    exitCode: 255,
  },
  {
    case: '26',
    command: 'ipvsadm -S -n > saved; cat saved; ipvsadm -C; ipvsadm -R < saved',
    reason: NOTHING_LOST,
    stdout: SH,
    stderr: '',
    exitCode: 0,
  },
  { case: '26', command: 'ipvsadm -S -n', reason: NOTHING_LOST, stdout: SH },
  {
    case: '26',
    command: 'ipvsadm -S -n > saved; cat saved; ipvsadm -C; ipvsadm -R < saved',
    reason: NOTHING_LOST,
    stdout: '-A -t 10.0.1.100:80 -s wrr\n-a -t 10.0.1.100:80 -r 192.168.0.11:80 -m -w 3 -x 10 -y 5\n',
  },
  {
    case: '26',
    command: 'ipvsadm -Ln --thresholds',
    reason: NOTHING_LOST,
    stdout: [
      'IP Virtual Server version 1.2.1 (size=4096)',
      'Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ',
      '  -> RemoteAddress:Port',
      'TCP  10.0.1.100:80 wrr',
      '  -> 192.168.0.11:80              10         5          0          0         \n',
    ].join('\n'),
  },
  {
    case: '26',
    command: 'ipvsadm -S > saved; cat saved; ipvsadm -C; ipvsadm -R < saved',
    reason: LONG_NAMES,
    stdout: `-A -t ${LONG} -s rr\n`,
  },
  { case: '26', command: 'ipvsadm -S -n', reason: LONG_NAMES, stdout: '-A -t 10.0.1.101:443 -s rr\n' },
];
