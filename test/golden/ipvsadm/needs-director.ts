/**
 * Recorded cases that show what a director does with packets, and why the front end alone cannot replay them to the letter. Of the cases
 * in LIVE every command runs; where a listing has live numbers, these are taken from the recording and the text must come out the same.
 */

/** By the number of the case. */
export const LIVE: Readonly<Record<string, string>> = {
  '22': 'statistics: the recorder put chosen numbers into the tool',
  '30': 'states and timers of connections, counters of traffic (NAT)',
  '32': 'timers of connections after --set',
  '34': 'connections of a server at weight 0',
  '36': 'connections of a deleted server and service, expire_nodest_conn 1',
  '38': 'connections of a deleted service, expire_nodest_conn 1',
  '40': 'persistence templates',
  '42': 'expiry of persistence templates',
  '44': 'connections over IPv6',
  '46': 'position of rr and wrr when the table changes',
  '48': 'connections through IPIP tunnels',
  '60': 'order of servers: rr',
  '62': 'order of servers: wrr 4 3 2',
  '64': 'order of servers: wrr 0 2 1',
  '66': 'order of servers: wlc 1 1 1',
  '68': 'order of servers: wlc 1 5 1',
  '70': 'order of servers: sed 1 5 1',
  '72': 'order of servers: nq 1 5 1',
  '74': 'order of servers: ovf 4 3 2',
  '76': 'order of servers: lblcr 4 3 2',
  '78': 'order of servers: rr 4 3 2, direct routing',
  '80': 'order of servers: wrr 1 5 1, direct routing',
  '82': 'order of servers: lc 1 1 1, direct routing',
  '84': 'order of servers: wlc 4 3 2, direct routing',
  '86': 'order of servers: sed 4 3 2, direct routing',
  '88': 'order of servers: nq 4 3 2, direct routing',
  '90': 'server of each client: sh',
  '92': 'server of each client: dh',
  '94': 'server of each client: mh',
  '96': 'order of servers: lc, connections closed',
  '98': 'order of servers: wlc, connections closed',
  '100': 'order of servers: lc, connections closed, direct routing',
  '102': 'order of servers: wlc, connections closed, direct routing',
};

/** Cases where no command of ours makes the table. */
export const SKIPPED_CASES: Readonly<Record<string, string>> = {
  '110': 'keepalived makes the table: for the health checks',
  '112': 'keepalived makes the table: for the health checks',
  '114': 'keepalived makes the table: for the health checks',
};

/** Commands that cannot run yet, or not here. */
export const SKIPPED_COMMANDS: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  { pattern: /^nobody /, reason: 'run without privileges: for the control socket' },
  { pattern: /^elsewhere /, reason: 'run in another network namespace: a director of its own' },
];

/** Commands of case 18 whose answer depends on daemons that run. */
export const DAEMON_COMMANDS: RegExp = /--(start|stop)-daemon (master|backup)/;
