/** What can become of a packet, and how it is said. */
import { DROP_REASONS } from '../../stack/drop.ts';

/** Who has a frame that is neither sent, delivered nor dropped yet. */
export type Holder = 'neighbour' | 'reassembly' | 'receive queue' | 'out of order' | 'send queue' | 'udp socket';

export type Outcome =
  /** Its content arrived: a protocol took it, nothing was sent because of it. */
  | { readonly kind: 'delivered' }
  /** As delivered, and its sender got an answer; or the frame itself went back, turned round. */
  | { readonly kind: 'answered' }
  /** `reason` indexes DROP_REASONS. */
  | { readonly kind: 'dropped'; readonly reason: number }
  | { readonly kind: 'held'; readonly by: Holder; readonly detail: string };

const WAITS: Readonly<Record<Holder, string>> = {
  neighbour: 'waits for the link-layer address of its next hop',
  reassembly: 'waits for the other fragments of its datagram',
  'receive queue': 'lies in the receive queue of its connection until it can be relayed',
  'out of order': 'waits for the data before it',
  'send queue': 'is relayed, and kept until the other side has acknowledged it',
  'udp socket': 'lies in the receive queue of its UDP socket',
};

/** One word or two, to count by. */
export function className(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'dropped':
      return `dropped: ${DROP_REASONS[outcome.reason]!.name}`;
    case 'held':
      return `held: ${outcome.by}`;
    default:
      return outcome.kind;
  }
}

/** A sentence for the line of a packet. */
export function outcomeText(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'dropped': {
      const { name, sentence } = DROP_REASONS[outcome.reason]!;
      return `dropped: ${name}: ${sentence}`;
    }
    case 'held':
      return `held: ${WAITS[outcome.by]}${outcome.detail === '' ? '' : ` (${outcome.detail})`}`;
    default:
      return outcome.kind;
  }
}
