/**
 * The configuration a running tsvs has, and every way to change it: a file read again (SIGHUP, POST /v1/reload), a weight or
 * a state of one server (PUT). Changes come one after the other; each is checked as a whole, sent to the worker as one
 * batch, and holds when the worker says so. What is refused, here or there, has changed nothing.
 *
 * States (drain, maint) are no part of the configuration: they live with the server in the worker's table, where a reload
 * leaves them alone, and end when the server leaves its service.
 */
import type { AdminState } from '../../lb/dest.ts';
import { MAX_WEIGHT } from '../../lb/dest.ts';
import { describeAction, describeRefusal } from '../config/action-words.ts';
import { type Action, applyTo, type ServerRef, type ServiceRef } from '../config/actions.ts';
import { formatEndpoint, formatIpv4 } from '../config/address.ts';
import { diff } from '../config/diff.ts';
import { type CfgError, formatError } from '../config/error.ts';
import { type Loaded, load } from '../config/load.ts';
import type { Config, DestConfig, ServiceConfig } from '../config/model.ts';
import { nearest } from '../config/nearest.ts';
import { save } from '../config/save.ts';
import type { PreparedScheduler } from '../schedulers/install.ts';
import type { Judged } from '../schedulers/prepare.ts';
import {
  type Batch,
  type CloseCommand,
  type Command,
  FIRST_VERSION,
  isCommandOfMoment,
  type NeighbourCommand,
} from '../workers/commands.ts';
import { WorkerGone } from '../workers/spread.ts';
import type { ConfigReply, ReloadReply, ServerWish } from './api.ts';

/** Words for programs by the status of HTTP. */
export const ERROR_CODES: Readonly<Record<number, string>> = {
  400: 'BAD_REQUEST',
  404: 'NOT_FOUND',
  405: 'WRONG_METHOD',
  409: 'CONFLICT',
  413: 'TOO_LONG',
  422: 'INVALID',
  500: 'INTERNAL',
  503: 'NOT_READY',
};

/** A change that was refused; nothing has changed. */
export class ChangeError extends Error {
  /** Of HTTP: 400 not understood, 404 no such service or server, 409 impossible now, 422 a file with errors, 503 a worker that died of it. */
  readonly status: number;
  readonly hint: string;
  /** The mistakes of a file, a line each. */
  readonly errors: readonly string[];
  /** For programs. */
  readonly code: string;
  constructor(
    status: number,
    message: string,
    hint = '',
    errors: readonly string[] = [],
    code = ERROR_CODES[status] ?? 'FAILED',
  ) {
    super(message);
    this.code = code;
    this.name = 'ChangeError';
    this.status = status;
    this.hint = hint;
    this.errors = errors;
  }
}

/** What applies batches; the supervisor of a worker. */
export interface Applying {
  /** Resolves when the batch holds. Throws, and nothing has changed then. */
  apply(batch: Batch): Promise<void>;
}

/** Who hears of changes, in words; pino is one. */
export interface ChangeLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface RunningOptions {
  /** The file that tsvs was started with. */
  readonly file: string;
  /** Reads a file as at the start, command line included. */
  readonly load: (file: string) => Loaded;
  readonly worker: Applying;
  /** The worker has what layer 4 needs. */
  readonly layer4: boolean;
  /** Prepares the schedulers from files that it has not yet been asked for; those without a problem are known afterwards. */
  readonly schedulers?: (config: Config) => readonly Judged[];
  readonly log: ChangeLog;
  /** Called when another configuration holds. */
  readonly follow: (config: Config) => void;
  /** Calls `action` after `ms`; the result cancels that. */
  readonly schedule?: (ms: number, action: () => void) => () => void;
}

const realTime = (ms: number, action: () => void): (() => void) => {
  const timer = setTimeout(action, ms);
  return () => clearTimeout(timer);
};

export class RunningConfig {
  /** Of the batch that holds. */
  version = FIRST_VERSION;
  private held: Config;
  private readonly options: RunningOptions;
  private last: Promise<unknown> = Promise.resolve();
  /** Judged and good, but not every worker has them yet: a change that was refused stops at the first. */
  private schedulers: PreparedScheduler[] = [];
  /** Cancels the reset that a server in maintenance is due. */
  private readonly deadlines = new Map<string, () => void>();

  constructor(config: Config, options: RunningOptions) {
    this.held = config;
    this.options = options;
  }

  get config(): Config {
    return this.held;
  }

  /** The configuration as a file that reproduces it. */
  show(): ConfigReply {
    return { version: this.version, text: save(this.asHeld(this.held)) };
  }

  /** Reads a file, or the one tsvs was started with, and applies what is different. Throws ChangeError. */
  reload(file = this.options.file): Promise<ReloadReply> {
    return this.inTurn(async () => {
      try {
        return await this.readAgain(file);
      } catch (error) {
        this.complain(file, error as Error);
        throw error;
      }
    });
  }

  /**
   * Has another configuration hold: what `make` makes of the one that does. It is checked as a whole, as a file that says so would
   * be, so `show` is always one that loads. The result: the changes, in words. Throws ChangeError.
   */
  change(make: (held: Config) => Config): Promise<readonly string[]> {
    return this.inTurn(() => this.replace(this.checked(make(this.held))));
  }

  /**
   * Several changes, one after the other, sent as one version. A step that throws a ChangeError is passed over, and its place in
   * the result has it; the others have null. With `atomic` it ends everything, and nothing has changed.
   */
  changeEach(steps: readonly ((held: Config) => Config)[], atomic: boolean): Promise<(ChangeError | null)[]> {
    return this.inTurn(async () => {
      // One check of all is enough when it finds nothing: many steps are the rule where it does not.
      const whole = this.inSteps(steps, atomic, (config) => config);
      let { next } = whole;
      let { results } = whole;
      try {
        next = this.checked(next);
      } catch (error) {
        if (!(error instanceof ChangeError)) throw error;
        ({ next, results } = this.inSteps(steps, atomic, (config) => this.checked(config)));
      }
      await this.replace(next);
      return results;
    });
  }

  private inSteps(
    steps: readonly ((held: Config) => Config)[],
    atomic: boolean,
    check: (config: Config) => Config,
  ): { next: Config; results: (ChangeError | null)[] } {
    let next = this.held;
    const results = steps.map((step): ChangeError | null => {
      try {
        next = check(step(next));
        return null;
      } catch (error) {
        if (atomic || !(error instanceof ChangeError)) throw error;
        return error;
      }
    });
    return { next, results };
  }

  /** The configuration as a file that says the same makes it. Throws ChangeError. */
  private checked(next: Config): Config {
    const loaded = load(save(this.asHeld(next)), 'change');
    if ('model' in loaded) return loaded.model;
    const [first] = loaded.errors;
    const hint = first!.hint === '' ? 'nothing has changed' : first!.hint;
    // Lines are of no file that anybody has.
    const errors = loaded.errors.map((error) => formatError({ ...error, line: 0 }).replace(/^change: /, ''));
    throw new ChangeError(422, wordsOf(first!), hint, errors);
  }

  private async replace(next: Config): Promise<readonly string[]> {
    const { actions, refused } = diff(this.held, next, this.options);
    if (refused.length > 0) {
      throw new ChangeError(409, describeRefusal(refused[0]!), 'nothing has changed', refused.map(describeRefusal));
    }
    await this.send(actions);
    const changes = actions.map(describeAction);
    for (const change of changes) this.options.log.info({ version: this.version }, change);
    return changes;
  }

  /** Whether there is a layer 4 was settled at the start. */
  private asHeld(config: Config): Config {
    return { ...config, global: { ...config.global, layer4: this.options.layer4 || config.global.layer4 } };
  }

  /** A weight, a state, or both, for one server. Throws ChangeError. */
  setServer(service: string, server: string, wish: ServerWish): Promise<void> {
    return this.inTurn(async () => {
      const [one, dest] = findServer(this.held, service, server);
      const commands: Command[] = [];
      const words: string[] = [];
      if (wish.weight !== undefined || wish.upper !== undefined || wish.lower !== undefined) {
        const { actions } = diff(this.held, this.checked(withWish(this.held, one, dest, wish)), this.options);
        commands.push(...actions);
        words.push(...actions.map(describeAction));
      }
      if (wish.state !== undefined) {
        commands.push({ do: 'setState', at: refOf(one), server: serverRefOf(dest), state: wish.state });
        words.push(stateWords(one, dest, wish.state, wish.deadlineMs));
      }
      await this.send(commands);
      for (const line of words) this.options.log.info({ version: this.version }, line);
      if (wish.state !== undefined) this.setDeadline(one, dest, wish.state, wish.deadlineMs);
    });
  }

  /** Ends one connection of layer 4. Throws ChangeError when there is none such. */
  closeConnection(conn: CloseCommand): Promise<void> {
    return this.inTurn(async () => {
      await this.send([conn]);
      const [client, vip] = [
        formatEndpoint(conn.client.ip, conn.client.port),
        formatEndpoint(conn.vip.ip, conn.vip.port),
      ];
      this.options.log.info({}, `${conn.proto} connection ${client} to ${vip} ended`);
    });
  }

  /** A static neighbour, or none any more (`mac` null). Throws ChangeError. */
  setNeighbour(neighbour: NeighbourCommand): Promise<void> {
    return this.inTurn(async () => {
      await this.send([neighbour]);
      const { ip, mac } = neighbour;
      const words = mac === null ? 'is no static neighbour any more' : `is a static neighbour: ${mac}`;
      this.options.log.info({}, `${formatIpv4(ip)} ${words}`);
    });
  }

  private async readAgain(file: string): Promise<ReloadReply> {
    const { log } = this.options;
    const loaded = this.options.load(file);
    if ('errors' in loaded) {
      throw new ChangeError(422, `${file} has errors`, 'nothing has changed', loaded.errors.map(formatError));
    }
    const { actions, refused } = diff(this.held, loaded.model, this.options);
    if (refused.length > 0) {
      const why = 'take these changes back, or restart tsvs; nothing has changed';
      throw new ChangeError(409, `${file} changes what only a restart can`, why, refused.map(describeRefusal));
    }
    await this.send(actions);
    const { version } = this;
    const changes = actions.map(describeAction);
    for (const warning of loaded.warnings) log.warn({}, warning);
    for (const change of changes) log.info({ version }, change);
    const count = changes.length === 0 ? 'nothing has changed' : `version ${version} of the configuration`;
    log.info({ version, file, changes: changes.length }, `reloaded ${file}: ${count}`);
    return { version, file, changes, warnings: loaded.warnings };
  }

  private complain(file: string, error: Error): void {
    const { log } = this.options;
    const errors = error instanceof ChangeError ? error.errors : [];
    for (const line of errors) log.error({ file }, line);
    log.error({ file, errors: errors.length }, `not reloaded: ${error.message}; the configuration stays as it was`);
  }

  /** Has the worker apply commands, then holds what follows from them. */
  private async send(commands: readonly Command[]): Promise<void> {
    if (commands.length === 0) return;
    const version = this.version + 1;
    const actions = commands.filter((one): one is Action => !isCommandOfMoment(one));
    const next = applyTo(this.held, actions);
    this.schedulers.push(...this.newSchedulers(next));
    const { schedulers } = this;
    try {
      await this.options.worker.apply({ version, commands, ...(schedulers.length > 0 && { schedulers }) });
      this.schedulers = [];
    } catch (error) {
      if (error instanceof WorkerGone) {
        throw new ChangeError(
          503,
          'the worker died of the change, twice',
          'nothing has changed; the log says why it died',
        );
      }
      throw new ChangeError(409, `the worker refuses: ${(error as Error).message}`, 'nothing has changed');
    }
    this.version = version;
    this.held = next;
    if (actions.length > 0) this.options.follow(next);
  }

  /** At the start wlc takes the place of a scheduler that is no good; here there is one that goes on. Throws ChangeError. */
  private newSchedulers(next: Config): PreparedScheduler[] {
    const judged = this.options.schedulers?.(next) ?? [];
    const problems = judged.flatMap(({ name, problem }) => (problem === null ? [] : [`scheduler ${name}: ${problem}`]));
    if (problems.length > 0) throw new ChangeError(422, problems[0]!, 'nothing has changed', problems);
    return judged.map(({ name, code }) => ({ name, code }));
  }

  /** Whatever was due to the server is no longer; in maintenance, its sessions are reset after `ms`. */
  private setDeadline(service: ServiceConfig, dest: DestConfig, state: AdminState, ms: number | undefined): void {
    const { schedule = realTime, log } = this.options;
    const at = refOf(service);
    const server = serverRefOf(dest);
    const key = `${at.proto} ${at.vip} ${at.port} ${server.ip} ${server.port}`;
    this.deadlines.get(key)?.();
    this.deadlines.delete(key);
    if (state !== 'maint' || ms === undefined) return;
    const reset = (): void => {
      this.deadlines.delete(key);
      this.inTurn(() => this.send([{ do: 'resetServer', at, server }])).then(
        () => log.info({}, `service ${at.name}: sessions of ${server.name} reset`),
        (error: Error) => log.warn({}, `service ${at.name}: sessions of ${server.name} not reset: ${error.message}`),
      );
    };
    this.deadlines.set(key, schedule(ms, reset));
  }

  /** One change after the other. */
  private inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.last.then(change);
    this.last = done.catch(() => {});
    return done;
  }
}

/** The service of this name. Throws ChangeError. */
export function find({ services }: Config, service: string): ServiceConfig {
  const one = services.find(({ name }) => name === service);
  if (one === undefined) throw unknown('service', service, services);
  return one;
}

/** A service, and its server of this name. Throws ChangeError. */
export function findServer(config: Config, service: string, server: string): [ServiceConfig, DestConfig] {
  const one = find(config, service);
  const dest = one.dests.find(({ name }) => name === server);
  if (dest === undefined) throw unknown(`server of ${service}`, server, one.dests);
  return [one, dest];
}

/** Of a mistake in a file that nobody wrote: what is wrong where, without a line. */
const wordsOf = ({ section, key, message }: CfgError): string =>
  `${[`[${section}]`, key].join(' ').trim()}: ${message}`;

function unknown(what: string, name: string, known: readonly { name: string }[]): ChangeError {
  const names = known.map((one) => one.name);
  const near = nearest(name, names);
  return new ChangeError(404, `no ${what} is called '${name}'`, near ? `did you mean '${near}'?` : names.join(', '));
}

/** Throws ChangeError when the file that says so would be refused. */
function withWish(config: Config, service: ServiceConfig, dest: DestConfig, wish: ServerWish): Config {
  const { weight = dest.weight, upper, lower } = wish;
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw new ChangeError(400, `${weight} is no weight`, `a weight is 0..${MAX_WEIGHT}`);
  }
  if (
    weight === 0 &&
    service.mode === 'proxy' &&
    service.dests.every((other) => other === dest || other.weight === 0)
  ) {
    const hint = 'drain it, if that is what you want, or give another one a weight first';
    throw new ChangeError(409, `${dest.name} is the last server of ${service.name} with a weight`, hint);
  }
  const dests = service.dests.map((other) =>
    other === dest
      ? { ...dest, weight, ...(upper !== undefined && { upper }), ...(lower !== undefined && { lower }) }
      : other,
  );
  return { ...config, services: config.services.map((other) => (other === service ? { ...service, dests } : other)) };
}

function stateWords(service: ServiceConfig, dest: DestConfig, state: AdminState, deadlineMs?: number): string {
  const who = `service ${service.name}: ${dest.name}`;
  switch (state) {
    case 'ready':
      return `${who} is ready: it gets connections`;
    case 'drain':
      return `${who} drains: it gets no new connections`;
    case 'maint': {
      const end = deadlineMs === undefined ? '' : `, its sessions are reset in ${deadlineMs / 1000} s`;
      return `${who} is in maintenance: it gets no new connections${end}`;
    }
  }
}

const refOf = ({ name, proto, vip, port }: ServiceConfig): ServiceRef => ({ name, proto, vip, port });
const serverRefOf = ({ name, ip, port }: DestConfig): ServerRef => ({ name, ip, port });
