/**
 * From the words of a command line to an operation, or to the text and exit status with which the tool refuses it. Pure: addresses and
 * ports by name come from functions given from outside. The checks come in the real tool's order, because the first one speaks.
 */
import { CommandError, EXIT_REFUSED, wrong } from './command-error.ts';
import { type Draft, emptyDraft, serviceOf, take } from './draft.ts';
import { helpText, versionText } from './help.ts';
import type { Names } from './names.ts';
import type { DaemonRole, DestSettings, ListFormat, Op, ServiceId, ServiceSettings, Timeouts } from './ops.ts';
import { isCommand, RULES, type Rule, SETTINGS, type Setting, TUNNEL_JUDGED, TUNNEL_RULES } from './options.ts';
import { Scanner } from './scan.ts';
import { parseSchedFlags } from './sched-flags.ts';
import { parseTimeout } from './values.ts';

export const DEFAULT_SCHEDULER = 'wlc';

export type Parsed =
  | { readonly kind: 'op'; readonly op: Op }
  /** `stops`: a restore ends here too, not only this line. */
  | {
      readonly kind: 'exit';
      readonly code: number;
      readonly stdout: string;
      readonly stderr: string;
      readonly stops: boolean;
    };

/** @param program what the tool is called, for messages; `words` follow it. */
export function parseCommand(program: string, words: readonly string[], names: Names): Parsed {
  try {
    return read(program, words, names);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { kind: 'exit', code: error.exitCode, stdout: '', stderr: `${error.message}\n`, stops: error.stops };
  }
}

export const tryHelp = (program: string): CommandError =>
  new CommandError(EXIT_REFUSED, `Try \`${program} -h' or '${program} --help' for more information.`);

function read(program: string, words: readonly string[], names: Names): Parsed {
  const scanner = new Scanner(words);
  const first = readCommand(program, scanner);
  const command = first.name;
  if (command === 'help') return printed(helpText(program));
  if (command === 'version') return printed(versionText());
  const rule = RULES[command];
  if (rule === undefined) throw tryHelp(program);
  scanner.knows(command);

  const draft = emptyDraft();
  if (command === 'start-daemon') draft.role = roleOf(first.value, 'illegal start-daemon parameter specified');
  if (command === 'stop-daemon') draft.role = roleOf(first.value, 'illegal start_daemon specified');
  for (let found = scanner.next(); found !== null; found = scanner.next()) {
    const { option, value, word } = found;
    if (isCommand(option.long)) wrong(`invalid option \`${word}'`);
    if (option.sets !== null && draft.given.has(option.sets)) wrong(`multiple '${option.sets}' options specified`);
    if (option.sets !== null) draft.given.add(option.sets);
    take(draft, option.long, value, names);
  }
  const timeouts = command === 'set' ? takeTimeouts(scanner.rest) : null;
  if (scanner.rest.length > 0) wrong(`unexpected argument ${scanner.rest[0]}`);
  judge(rule, 'command', SETTINGS, draft.given);
  return { kind: 'op', op: operation(command, draft, timeouts) };
}

/** The first option must be the command; whatever is wrong before it is known has one answer. */
function readCommand(program: string, scanner: Scanner): { name: string; value: string | null } {
  try {
    const found = scanner.next();
    if (found !== null && isCommand(found.option.long)) return { name: found.option.long, value: found.value };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
  }
  throw tryHelp(program);
}

const printed = (stdout: string): Parsed => ({ kind: 'exit', code: 0, stdout, stderr: '', stops: true });

function roleOf(text: string | null, message: string): DaemonRole {
  return text === 'master' || text === 'backup' ? text : wrong(message);
}

function takeTimeouts(rest: string[]): Timeouts {
  const [tcp, tcpfin, udp] = rest.splice(0, 3);
  if (tcp === undefined || tcpfin === undefined || udp === undefined) {
    return wrong('--set option requires 3 timeout values');
  }
  return { tcp: parseTimeout(tcp, 0), tcpfin: parseTimeout(tcpfin, 0), udp: parseTimeout(udp, 0) };
}

/** Checks what was given against a rule; `kind` as in `the 'list' command`. */
function judge(rule: Rule, kind: string, settings: readonly Setting[], given: ReadonlySet<Setting>): void {
  let chosen: Setting | null = null;
  for (const setting of settings) {
    const needed = rule.needs.includes(setting);
    if (!given.has(setting)) {
      if (needed) wrong(`You need to supply the '${setting}' option for the '${rule.name}' ${kind}`);
      continue;
    }
    if (rule.oneOf.includes(setting)) {
      if (chosen !== null) {
        wrong(`The option '${setting}' conflicts with the '${chosen}' option in the '${rule.name}' ${kind}`);
      }
      chosen = setting;
    } else if (!needed && !rule.takes.includes(setting)) {
      wrong(`Illegal '${setting}' option with the '${rule.name}' ${kind}`);
    }
  }
}

function operation(command: string, draft: Draft, timeouts: Timeouts | null): Op {
  const optionalService = serviceOf(draft);
  const service = (): ServiceId => optionalService ?? wrong('no service');
  switch (command) {
    case 'add-service':
    case 'edit-service':
      return { op: command, service: service(), settings: serviceSettings(draft, service()) };
    case 'delete-service':
      return { op: 'delete-service', service: service() };
    case 'clear':
      return { op: 'flush' };
    case 'zero':
      return { op: 'zero', service: optionalService };
    case 'add-server':
      return { op: 'add-dest', service: service(), ...serverSettings(draft) };
    case 'edit-server':
      return { op: 'edit-dest', service: service(), ...serverSettings(draft) };
    case 'delete-server':
      return { op: 'delete-dest', service: service(), dest: serverOf(draft) };
    case 'set':
      return { op: 'set-timeouts', timeouts: timeouts ?? { tcp: 0, tcpfin: 0, udp: 0 } };
    case 'start-daemon':
      return { op: 'start-daemon', daemon: { ...draft.daemon, role: draft.role } };
    case 'stop-daemon':
      return { op: 'stop-daemon', role: draft.role };
    case 'list':
      return list(draft, optionalService);
    case 'save':
      return { op: 'save', numeric: draft.given.has('numeric') };
    case 'add-laddr':
    case 'del-laddr': {
      const local = { address: draft.laddr ?? wrong('illegal local address'), device: draft.device };
      return { op: command === 'add-laddr' ? 'add-laddr' : 'delete-laddr', service: service(), local };
    }
    case 'get-laddr':
      return { op: 'list-laddrs', service: optionalService };
    case 'add-blklst':
    case 'add-whtlst':
    case 'del-blklst':
    case 'del-whtlst': {
      const list = command.endsWith('blklst') ? 'deny' : 'allow';
      const subject = draft[list] ?? wrong('no entry');
      return { op: command.startsWith('add') ? 'add-subject' : 'delete-subject', list, service: service(), subject };
    }
    case 'get-blklst':
      return { op: 'list-subjects', list: 'deny', service: optionalService };
    case 'get-whtlst':
      return { op: 'list-subjects', list: 'allow', service: optionalService };
    default:
      return { op: 'restore' };
  }
}

function serviceSettings(draft: Draft, service: ServiceId): ServiceSettings {
  const { given, persistSec, mask, pe, synproxy, connTimeoutSec, proxyProtocol, destCheck } = draft;
  const ops = given.has('ops');
  if (service.kind === 'address' && service.port === 0 && persistSec === 0 && !isIcmp(service.protocol)) {
    wrong('Zero port specified for non-persistent service');
  }
  const mayBeUdp = service.kind === 'fwmark' || service.protocol === 'udp' || service.protocol === 'any';
  if (ops && !mayBeUdp) {
    wrong('One-Packet Scheduling is only for UDP virtual services');
  }
  const scheduler = draft.scheduler === '' ? DEFAULT_SCHEDULER : draft.scheduler;
  const schedFlags = draft.schedFlags === null ? 0 : parseSchedFlags(scheduler, draft.schedFlags);
  if (draft.hashTarget !== null && scheduler !== 'conhash') {
    wrong('hash target can only be set when schedule is conhash\n');
  }
  if (draft.hashTarget === 'qid' && !mayBeUdp) wrong('qid hash can only be set in udp service\n');
  return {
    scheduler,
    schedFlags,
    persistSec,
    mask,
    pe,
    ops,
    synproxy,
    connTimeoutSec,
    proxyProtocol,
    hashTarget: scheduler === 'conhash' ? (draft.hashTarget ?? 'sip') : null,
    expireQuiescent: given.has('expire-quiescent'),
    quic: given.has('quic'),
    destCheck,
  };
}

const isIcmp = (protocol: string): boolean => protocol === 'icmp' || protocol === 'icmpv6';

const serverOf = (draft: Draft): NonNullable<Draft['server']> => draft.server ?? wrong('no server');

function serverSettings(draft: Draft): { dest: NonNullable<Draft['server']>; settings: DestSettings } {
  const { forward, weight, upper, lower, tunType, tunPort, given } = draft;
  const server = serverOf(draft);
  // Nothing rewrites the port on these ways: the server must listen on the service's own.
  const keepsPort = draft.mark === 0 && (forward === 'tunnel' || forward === 'route');
  const dest = keepsPort ? { ...server, port: draft.port } : server;
  if (dest.address.family !== draft.family && forward !== 'tunnel' && forward !== 'fullnat') {
    wrong('Different address family is allowed only for tunneling servers');
  }
  if (forward !== 'tunnel' && ['tun-type' as const, ...TUNNEL_JUDGED].some((setting) => given.has(setting))) {
    wrong('Tunnel options conflict with forward method');
  }
  judge(TUNNEL_RULES[tunType], 'tunnel type', TUNNEL_JUDGED, given);
  const checksum = given.has('tun-remcsum') ? 'remcsum' : given.has('tun-csum') ? 'csum' : 'nocsum';
  return { dest, settings: { forward, weight, upper, lower, tunnel: { type: tunType, port: tunPort, checksum } } };
}

function list(draft: Draft, service: ServiceId | null): Op {
  const { given } = draft;
  const apart = given.has('timeout') || given.has('daemon');
  const ofServers = given.has('stats') || given.has('rate') || given.has('thresholds');
  if (((given.has('connection') || apart) && ofServers) || (apart && given.has('persistent-conn'))) {
    wrong('options conflicts in the list command');
  }
  if (given.has('timeout')) return { op: 'list-timeouts' };
  if (given.has('daemon')) return { op: 'list-daemons' };
  const format: ListFormat = {
    numeric: given.has('numeric'),
    stats: given.has('stats'),
    rate: given.has('rate'),
    thresholds: given.has('thresholds'),
    persistentConn: given.has('persistent-conn'),
    tunInfo: given.has('tun-info'),
    exact: given.has('exact'),
    nosort: given.has('nosort'),
  };
  if (given.has('connection')) return { op: 'list-conns', format, pair: draft.pair, cpu: draft.cpu };
  return { op: 'list-services', service, format };
}
