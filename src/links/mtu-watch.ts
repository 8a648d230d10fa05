/**
 * Looks once a second whether somebody has changed the MTU of a link's interface, and says so: tsvs keeps the one it found when it
 * opened the link. Runs in the main thread, for links that are an interface of the system.
 */
import { askingSocket, InterfaceQuery } from './ifreq.ts';
import { type Syscalls, syscalls } from './syscall.ts';

const EVERY_MS = 1000;

/** A link by its name in the log, and its interface. */
export interface WatchedLink {
  readonly link: string;
  readonly device: string;
}

/** `was` is what tsvs keeps, `is` what the interface has now, in bytes; equal when it was put back. */
export type MtuChanged = (link: string, was: number, is: number) => void;

export class MtuWatch {
  private readonly sys: Syscalls = syscalls();
  private readonly socket = askingSocket(this.sys);
  private readonly rows: { link: string; query: InterfaceQuery; was: number; told: number }[];
  private readonly tell: MtuChanged;
  private timer: NodeJS.Timeout | null = null;

  constructor(links: readonly WatchedLink[], tell: MtuChanged) {
    this.tell = tell;
    this.rows = links.map(({ link, device }) => {
      const query = new InterfaceQuery(this.sys, this.socket, device);
      const was = query.mtu();
      return { link, query, was, told: was };
    });
  }

  start(): void {
    this.timer = setInterval(() => this.look(), EVERY_MS).unref();
  }

  /** One look at all of them. An interface that is away is no change. */
  look(): void {
    for (const row of this.rows) {
      const is = row.query.mtu();
      if (is < 0 || is === row.told) continue;
      row.told = is;
      this.tell(row.link, row.was, is);
    }
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    if (this.socket >= 0) this.sys.close(this.socket);
  }
}

/** The change in words. */
export function mtuWords(link: string, was: number, is: number): string {
  const head = `link ${link}: the MTU of its interface is now ${is} bytes`;
  if (is === was) return `${head}, as it was`;
  const lost = is < was ? `; packets above ${is} bytes may not leave until then` : '';
  return `${head}, and was ${was} when tsvs began: it is taken over by a restart${lost}`;
}
