/**
 * Changes on their way to all workers, one after the other: the first takes a change or refuses it, and when it has taken it, it holds.
 * Knows what holds, so that a worker that is started anew begins with just that: no change happens meanwhile (`alone`), it waits until the
 * worker serves. Used by the supervisor.
 */
import { type Action, applyTo } from '../config/actions.ts';
import type { Config } from '../config/model.ts';
import type { PreparedScheduler } from '../schedulers/install.ts';
import { type Batch, type Command, FIRST_VERSION, isCommandOfMoment } from './commands.ts';

/** A worker's thread. */
export interface Taker {
  /** Resolves when the batch holds there. Throws with the worker's reason, and nothing has changed then; WorkerGone when it has ended. */
  apply(batch: Batch): Promise<void>;
}

/** The worker that was to take something, or to answer, has ended. */
export class WorkerGone extends Error {
  constructor() {
    super('the worker has ended');
    this.name = 'WorkerGone';
  }
}

/** What a worker begins with. */
export interface Start {
  readonly config: Config;
  /** Of the last batch that `config` has in it. */
  readonly version: number;
  /** What an operator wanted, and health checks found, at run time. */
  readonly moments: readonly Command[];
  /** Schedulers from files, to be installed before the configuration is looked at. */
  readonly schedulers: readonly PreparedScheduler[];
}

export class Spread {
  private config: Config;
  private version = FIRST_VERSION;
  /** The last wish or finding for each object. */
  private readonly moments = new Map<string, Command>();
  /** Of the first configuration, and those that changes have brought. */
  private readonly schedulers: PreparedScheduler[];
  /** By worker; others take the places of those that died. */
  private readonly threads: readonly Taker[];
  private last: Promise<unknown> = Promise.resolve();

  constructor(config: Config, schedulers: readonly PreparedScheduler[], threads: readonly Taker[]) {
    this.config = config;
    this.schedulers = [...schedulers];
    this.threads = threads;
  }

  get start(): Start {
    const { config, version, moments, schedulers } = this;
    return { config, version, moments: [...moments.values()], schedulers: [...schedulers] };
  }

  /**
   * Has all workers apply a batch; resolves when it holds everywhere. Throws with the reason of the first, and nothing has changed then.
   * A worker that refuses what the first has taken, because connections hold rows that it would need, ends itself and is started anew.
   * The first may have been dead before it saw the batch, so the one after it gets it, too. When that dies as well: WorkerGone.
   */
  async apply(batch: Batch): Promise<void> {
    try {
      await this.alone(() => this.applyAlone(batch));
    } catch (error) {
      if (!(error instanceof WorkerGone)) throw error;
      await this.alone(() => this.applyAlone(batch));
    }
  }

  private async applyAlone(batch: Batch): Promise<void> {
    const [first, ...others] = this.threads;
    await first!.apply(batch);
    // At once, as a worker that dies of it begins with it.
    const actions = batch.commands.filter((one): one is Action => !isCommandOfMoment(one));
    this.config = applyTo(this.config, actions);
    this.version = batch.version;
    this.schedulers.push(...(batch.schedulers ?? []));
    for (const command of batch.commands) this.note(command);
    await Promise.allSettled(others.map((thread) => thread.apply(batch)));
  }

  /** Does something while no change is on its way. */
  alone<T>(body: () => Promise<T>): Promise<T> {
    const done = this.last.then(body);
    this.last = done.catch(() => {});
    return done;
  }

  /** A worker that is started anew begins with it as well. */
  note(command: Command): void {
    if (!isCommandOfMoment(command)) return;
    if (command.do === 'setNeighbour') this.moments.set(`neighbour ${command.ip} ${command.link}`, command);
    else if (command.do === 'setState' || command.do === 'setHealth') {
      const { proto, vip, port } = command.at;
      const { ip, port: at } = command.server;
      this.moments.set(`${command.do} ${proto} ${vip} ${port} ${ip} ${at}`, command);
    }
  }
}
