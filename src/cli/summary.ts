/** The last line of the log: what became of every frame and every session. */
import type { DropsReply, FrameFates } from '../control/api.ts';
import { formatCount } from './units.ts';

/** Where the numbers come from: control/snapshot.ts. */
export interface CounterSource {
  frames(): FrameFates;
  counter(name: string): number;
  drops(): DropsReply;
}

export interface FinalCounters {
  readonly fields: {
    readonly frames: FrameFates;
    /** aborted: by client, server or an idle limit; drained: reset because tsvs stopped. */
    readonly sessions: Readonly<Record<'accepted' | 'finished' | 'aborted' | 'drained', number>>;
    /** By reason. */
    readonly drops: Readonly<Record<string, number>>;
  };
  readonly message: string;
}

export function finalCounters(source: CounterSource): FinalCounters {
  const frames = source.frames();
  const aborted = ['clientAborts', 'serverAborts', 'timeouts'].reduce(
    (n, name) => n + source.counter(`proxy.${name}`),
    0,
  );
  const sessions = {
    accepted: source.counter('proxy.accepted'),
    finished: source.counter('proxy.finished'),
    aborted,
    drained: source.counter('proxy.drained'),
  };
  const drops = Object.fromEntries(source.drops().drops.map((drop) => [drop.name, drop.count]));
  const list = (numbers: object): string =>
    Object.entries(numbers)
      .map(([name, n]) => `${name} ${formatCount(n as number)}`)
      .join(', ');
  const message = `frames: ${list(frames)}; sessions: ${list(sessions)}; drops: ${list(drops) || 'none'}`;
  return { fields: { frames, sessions, drops }, message };
}
