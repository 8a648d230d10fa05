/** An established connection between a host and a peer whose segments a test writes (tcp-peer.ts), to begin with. */
import type { Conversation, Recorder, RigOptions, Sent } from './tcp-peer.ts';
import { TcpRig } from './tcp-peer.ts';

/** A SYN with every option. */
export const FULL = { mss: 1460, wscale: 4, sackOk: true, ts: [100_000, 0] as const };

/** Rig, peer and owner; the SYN has an MSS of 1460 and what `syn` says. */
export function connection(options: RigOptions = {}, syn: Partial<Sent> = {}): [TcpRig, Conversation, Recorder] {
  const rig = new TcpRig(options);
  const [c, owner] = rig.accept({ mss: 1460, ...syn });
  return [rig, c, owner];
}

/** Uses up the immediate acknowledgments of a young connection. */
export function settle(rig: TcpRig, c: Conversation): void {
  for (let i = 0; i < 8; i++) {
    c.send({ flags: 'A', data: 'x' });
    rig.advance(40);
  }
  c.take();
}
