/**
 * `tsvs run`: loads, starts, logs, and drains on SIGTERM or SIGINT.
 *
 * | from     | event                                   | to       | effect                                             |
 * | -------- | --------------------------------------- | -------- | -------------------------------------------------- |
 * | starting | configuration, socket or link is bad    | ended    | one message, exit 2 or 3; nothing was started      |
 * | starting | the worker serves                       | running  | `ready`                                            |
 * | running  | the worker ends                         | ended    | exit 4, or 3 when its link has gone                |
 * | running  | SIGHUP                                  | running  | reads the configuration again (running-config.ts)  |
 * | running  | SIGTERM, SIGINT                         | draining | accepts no more; sessions may end within the limit |
 * | draining | a second signal, or the limit           | draining | what is left is reset                              |
 * | draining | the worker ends                         | ended    | final counters, exit 0 (4 when it died of an error) |
 * | draining | the worker does not end GRACE_MS later  | ended    | exit 4                                             |
 */
import { closeSync, existsSync, openSync, unlinkSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { SessionLogReader } from '../../lb/l7/session-log.ts';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import { type Loaded, loadFile } from '../config/load.ts';
import type { Config, GlobalConfig } from '../config/model.ts';
import { formatService } from '../config/service-address.ts';
import { RunningConfig } from '../control/running-config.ts';
import { ControlServer } from '../control/server.ts';
import { Snapshot } from '../control/snapshot.ts';
import { ControlSocketError, defaultSocket } from '../control/socket.ts';
import { LinkError } from '../links/syscall.ts';
import { AccessLog, type LineSink, openLines } from '../log/access-log.ts';
import type { LogFormat } from '../log/format.ts';
import { createLogger } from '../log/logger.ts';
import { describe, queueWords } from '../log/words.ts';
import { PrivilegeError } from '../privileges/account.ts';
import { capabilitiesFor, withoutCapabilities } from '../privileges/capabilities.ts';
import { Identity } from '../privileges/identity.ts';
import { UserSchedulers } from '../schedulers/known.ts';
import type { Judged } from '../schedulers/prepare.ts';
import { version } from '../version.ts';
import { workerCount } from '../workers/count.ts';
import type { Drain } from '../workers/drain.ts';
import type { WorkerEvent } from '../workers/events.ts';
import type { FaultPlan } from '../workers/plan.ts';
import { type Opened, Supervisor } from '../workers/supervisor.ts';
import { loadConfig } from './configuration.ts';
import { EXIT, Failure } from './failure.ts';
import { describeFaults, readFaults } from './fault-option.ts';
import { withLink } from './link-option.ts';
import { finalCounters } from './summary.ts';
import { formatAge, plural } from './units.ts';

export interface RunOptions {
  readonly config: string;
  /** F-Stack's config.ini, for l4lb. */
  readonly fstack?: string;
  readonly link?: string;
  readonly control?: string;
  readonly capture?: string;
  readonly fault?: string;
  readonly log: LogFormat;
}

/** Returns when tsvs serves; the process then ends by itself, with an exit code. Throws Failure. */
export async function run(options: RunOptions): Promise<void> {
  const { config: file, warnings } = loadConfig(options.config, options.fstack);
  const config = options.link === undefined ? file : withLink(file, options.link);
  const fault = options.fault === undefined ? null : readFaults(options.fault, config.links);
  const log = createLogger(options.log, config.global.logLevel);
  for (const warning of warnings) log.warn(warning);
  if (fault !== null)
    log.warn(
      { fault: describeFaults(fault) },
      `${fault.link === null ? 'links have' : `link ${fault.link} has`} faults on purpose: ${describeFaults(fault)}`,
    );
  if (options.capture !== undefined) checkCapture(options.capture);

  const identity = identityOf(config.global);
  const { controlSocket, controlMode, accessLog: logFile } = config.global;
  const socket = options.control ?? controlSocket ?? defaultSocket();
  const control = await openControl(socket, Number.parseInt(controlMode, 8));
  let lines = null as LineSink | null;
  const schedulers = new UserSchedulers();
  const opened = (): Judged[] => {
    identity.own(socket, logFile);
    assumeIdentity(identity, config, log);
    for (const warning of identity.warnings(options.config, socket, logFile)) log.warn(warning);
    if (logFile !== null) lines = openAccessLog(logFile, log);
    if (options.capture !== undefined) checkCapture(options.capture);
    const judged = schedulers.atStart(config);
    for (const { name, problem } of judged) {
      if (problem !== null) log.error({ scheduler: name }, `scheduler ${name}: ${problem}; wlc schedules instead`);
    }
    return judged;
  };
  const supervisor = await startWorker(config, options.capture ?? null, fault, opened).catch((error: unknown) => {
    control.close();
    throw error;
  });
  const info = { version, pid: process.pid, uptimeMs: () => Math.round(performance.now()) };
  const snapshot = new Snapshot(config, supervisor.shares, info);
  const running = new RunningConfig(config, {
    file: options.config,
    load: (again) => loadAgain(again, options),
    worker: supervisor,
    layer4: supervisor.shares[0]!.connections !== null,
    schedulers: (next) => schedulers.added(next),
    log,
    follow: (next) => {
      snapshot.follow(next);
      log.level = next.global.logLevel;
    },
  });
  control.serve(snapshot, running, supervisor);
  const accessLog = lines === null ? null : new AccessLog(lines);
  for (const worker of supervisor.shares.keys()) readSessions(accessLog, supervisor, snapshot, worker);
  new Running(running, log, supervisor, control, snapshot, accessLog).begin();
}

/** Becomes the user that the configuration names, if any, and says with what rights. Throws PrivilegeError. */
function assumeIdentity(identity: Identity, { global, links }: Config, log: Logger): void {
  const { user, keepCapabilities } = global;
  const workers = workerCount(global);
  const kept = identity.assume(keepCapabilities ? capabilitiesFor(links, workers) : []);
  if (user === null) return;
  if (kept.length > 0) log.info({ user, kept }, `user ${user} keeps ${kept.join(', ')}`);
  if (!keepCapabilities) for (const warning of withoutCapabilities(links, workers)) log.warn(warning);
}

/** Has the access log empty the ring of a worker. */
function readSessions(log: AccessLog | null, supervisor: Supervisor, snapshot: Snapshot, worker: number): void {
  const { sessionLog } = supervisor.shares[worker]!;
  if (log === null || sessionLog === null) return;
  log.read(worker, new SessionLogReader(SpscRing.attach(sessionLog, 0)), snapshot.of(worker));
}

/** A file as `run` reads it, the command line's link included. It waits for nobody: this thread serves the control socket. */
function loadAgain(file: string, { fstack, link }: RunOptions): Loaded {
  const loaded = loadFile(file, fstack, false);
  return 'model' in loaded && link !== undefined ? { ...loaded, model: withLink(loaded.model, link) } : loaded;
}

/** The configuration's links, opened, and a worker that serves. Throws Failure. */
async function startWorker(
  config: Config,
  capture: string | null,
  fault: FaultPlan | null,
  opened: Opened,
): Promise<Supervisor> {
  try {
    return await Supervisor.start(config, capture, fault, opened);
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (error instanceof PrivilegeError) throw new Failure(EXIT.SYSTEM, error.message);
    if (error instanceof LinkError) throw new Failure(EXIT.SYSTEM, error.message);
    throw new Failure(EXIT.WORKER, `the worker died while starting: ${(error as Error).stack}`);
  }
}

/** Throws Failure when there is no such user or group. */
function identityOf(global: GlobalConfig): Identity {
  try {
    return new Identity(global);
  } catch (error) {
    if (error instanceof PrivilegeError || error instanceof LinkError) throw new Failure(EXIT.SYSTEM, error.message);
    throw error;
  }
}

async function openControl(path: string, mode: number): Promise<ControlServer> {
  try {
    return await ControlServer.open(path, mode);
  } catch (error) {
    throw error instanceof ControlSocketError ? new Failure(EXIT.SYSTEM, error.message) : error;
  }
}

/** Throws Failure when the file cannot be written. */
function openAccessLog(path: string, log: Logger): LineSink {
  try {
    return openLines(path, (error) => log.error({ err: error }, `access_log ${path}: ${error.message}`));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure(
      EXIT.SYSTEM,
      `access_log ${path}: cannot be written (${code}): name a file in a folder you may write to`,
    );
  }
}

/** Throws Failure when the file cannot be written; leaves it as it was. */
function checkCapture(file: string): void {
  const existed = existsSync(file);
  try {
    closeSync(openSync(file, 'a'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure(
      EXIT.SYSTEM,
      `--capture ${file}: cannot be written (${code}): name a file in a directory you may write to`,
    );
  }
  if (!existed) unlinkSync(file);
}

/** From `ready` to the exit of the process. */
class Running {
  private readonly running: RunningConfig;
  private readonly log: Logger;
  private readonly supervisor: Supervisor;
  private readonly control: ControlServer;
  private readonly snapshot: Snapshot;
  private drain: Drain | null = null;
  private readonly accessLog: AccessLog | null;
  private linkGone = false;

  constructor(
    running: RunningConfig,
    log: Logger,
    supervisor: Supervisor,
    control: ControlServer,
    snapshot: Snapshot,
    accessLog: AccessLog | null,
  ) {
    this.accessLog = accessLog;
    this.running = running;
    this.log = log;
    this.supervisor = supervisor;
    this.control = control;
    this.snapshot = snapshot;
  }

  begin(): void {
    const { log, supervisor } = this;
    const { config } = this.running;
    supervisor.on('event', (event: WorkerEvent, worker: number) => this.report(event, worker));
    supervisor.on('lost', (worker: number, error: Error) => this.workerLost(worker, error));
    supervisor.on('restarted', (worker: number) => this.workerRestarted(worker));
    supervisor.on('exit', (error: Error | null) => this.workerEnded(error));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.onSignal(signal));
    process.on('SIGHUP', () => this.onHangup());
    process.on('SIGUSR1', () => this.accessLog?.reopen());
    this.accessLog?.start();
    for (const s of config.services) {
      const address = formatService(s);
      const fields = { service: s.name, vip: address, scheduler: s.scheduler, servers: s.dests.length };
      log.info(fields, `${s.name} serves ${address}: ${s.scheduler} over ${plural(s.dests.length, 'server')}`);
    }
    const link = config.links.map(({ kind, device }) => `${kind}:${device}`).join(', ');
    log.info({ link, control: this.control.path }, `on ${link}; control socket ${this.control.path}`);
    config.links.forEach((one, i) => {
      const drivers = supervisor.drivers(i);
      if (drivers < supervisor.workers) log.info({ link: one.name }, queueWords(one, drivers, supervisor.workers));
    });
    log.info('ready');
  }

  private workerLost(worker: number, error: Error): void {
    this.accessLog?.flush();
    const sessions = this.snapshot.lost(worker);
    const what = `worker ${worker} died: ${error.message}; ${plural(sessions, 'session')} lost, it is started again`;
    this.log.error({ worker, sessions, err: error }, what);
  }

  private workerRestarted(worker: number): void {
    this.snapshot.restarted(worker);
    readSessions(this.accessLog, this.supervisor, this.snapshot, worker);
    this.log.info({ worker }, `worker ${worker} serves again`);
  }

  private report(event: WorkerEvent, worker: number): void {
    if (event.type === 'linkGone') this.linkGone = true;
    const line = describe(event, this.snapshot.of(worker));
    if (line !== null) this.log[line.level](line.fields, line.message);
  }

  /** What came of it is in the log. */
  private onHangup(): void {
    this.accessLog?.reopen();
    if (this.drain !== null) return;
    this.log.info('SIGHUP: reading the configuration again');
    this.running.reload().catch(() => {});
  }

  private onSignal(signal: string): void {
    if (this.drain !== null) {
      this.log.warn({ signal }, `${signal} again: resetting what is left`);
      this.drain.reset();
      return;
    }
    const limitMs = this.running.config.global.drainTimeoutMs;
    const sessions = this.supervisor.openSessions;
    const wait = sessions > 0 ? `, waiting up to ${formatAge(limitMs)}; a second signal resets them` : '';
    this.log.info({ signal, sessions, limitMs }, `${signal}: draining, ${plural(sessions, 'session')} open${wait}`);
    this.drain = this.supervisor.drain(limitMs);
    void this.drain.outcome.then((outcome) => {
      if (outcome === 'ended') return;
      this.log.fatal('the worker hangs: it did not react to being told to stop');
      process.exit(EXIT.WORKER);
    });
  }

  private workerEnded(error: Error | null): void {
    this.accessLog?.close();
    if (error !== null) {
      this.log.fatal({ err: error }, `the worker died: ${error.message}`);
      process.exit(EXIT.WORKER);
    }
    const { fields, message } = finalCounters(this.snapshot);
    this.log.info(fields, `stopped: ${message}`);
    if (this.linkGone) process.exit(EXIT.SYSTEM);
    if (this.drain === null) {
      this.log.fatal('the worker ended without being told to');
      process.exit(EXIT.WORKER);
    }
    process.exit(EXIT.OK);
  }
}
