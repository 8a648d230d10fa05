/**
 * The kernel's view of its connections, as `ss -tinoOH` prints it, and a watch over it: the kernel, too, must not stand
 * still for more than twice its time-out with data outstanding. If it does, we did not answer.
 */
export interface KernelSocket {
  readonly state: string;
  /** Unread bytes; bytes unacknowledged or unsent (and one for a FIN). */
  readonly recvQ: number;
  readonly sendQ: number;
  readonly local: string;
  readonly peer: string;
  /** What the kernel knows of it, as printed. */
  readonly info: string;
  /** Milliseconds until a retransmission or probe, doubled as often as it was repeated; 0 = not known. */
  readonly rtoMs: number;
  /** Changes with progress. */
  readonly mark: string;
}

const number = (info: string, key: string): number => Number(new RegExp(`\\b${key}:([\\d.]+)`).exec(info)?.[1] ?? 0);

export function readSockets(output: string): KernelSocket[] {
  const sockets: KernelSocket[] = [];
  for (const line of output.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words.length < 5) continue;
    const [state, recvQ, sendQ, local, peer] = words as [string, string, string, string, string];
    const info = words.slice(5).join(' ');
    const progress = ['bytes_acked', 'bytes_received', 'segs_in'].map((key) => number(info, key));
    // For a probe of a shut window the kernel doubles as it arms; for a retransmission the time-out itself is doubled.
    const doublings = number(info, 'unacked') === 0 ? number(info, 'backoff') : 0;
    const rtoMs = number(info, 'rto') * 2 ** doublings;
    sockets.push({
      state,
      recvQ: Number(recvQ),
      sendQ: Number(sendQ),
      local,
      peer,
      info,
      rtoMs,
      mark: [state, sendQ, ...progress].join(' '),
    });
  }
  return sockets;
}

export class KernelWatch {
  /** Longest stand seen, in ms, and as a share of what is allowed. */
  worstMs = 0;
  worst = 0;
  private readonly slackMs: number;
  private since = new Map<string, { mark: string; at: number }>();

  /** `slackMs`: time between two looks, and then some. */
  constructor(slackMs: number) {
    this.slackMs = slackMs;
  }

  /** Throws an Error that names the first connection that stands still. */
  look(sockets: readonly KernelSocket[], nowMs: number): void {
    const seen = new Map<string, { mark: string; at: number }>();
    for (const { sendQ, local, peer, mark, rtoMs, state, info } of sockets) {
      if (sendQ === 0 || rtoMs === 0) continue;
      const key = `${local} ${peer}`;
      const before = this.since.get(key);
      const since = before !== undefined && before.mark === mark ? before : { mark, at: nowMs };
      seen.set(key, since);
      const stood = nowMs - since.at;
      const allowed = 2 * rtoMs + this.slackMs;
      this.worstMs = Math.max(this.worstMs, stood);
      this.worst = Math.max(this.worst, stood / allowed);
      if (stood > allowed) {
        throw new Error(
          `the kernel's ${key} stands still for ${stood.toFixed(0)} ms, time-out ${rtoMs} ms: ${state} ${info}`,
        );
      }
    }
    this.since = seen;
  }
}
