/** What a packet script may ask about the host: states, windows, timers, counters and reasons of drops. */
import { DROP_REASONS } from '../../../stack/drop.ts';
import { pipe } from '../../../stack/tcp/recovery.ts';
import { STATE_NAMES } from '../../../stack/tcp/state.ts';
import { TcpStats } from '../../../stack/tcp/stats.ts';
import { CA_LOSS, CA_RECOVERY, type Tcb } from '../../../stack/tcp/tcb.ts';
import type { Connection } from './connection.ts';
import type { Play } from './play.ts';

interface Question {
  readonly usage: string;
  /** The answer is a word. */
  readonly text?: true;
  /** It needs a name more, out of these. */
  readonly of?: () => readonly string[];
  answer(play: Play, c: Connection, of: string): number | string;
}

/** About the control block of a connection that has one. */
const ofBlock = (usage: string, value: (tcb: Tcb) => number): Question => ({
  usage,
  answer: (play, c) => {
    const tcb = play.blockOf(c) ?? c.tcb;
    return tcb === null ? play.fail(`connection #${c.n} has no control block`) : value(tcb);
  },
});

const NONE_MS = 0x7fffffff;

export const QUESTIONS: Record<string, Question> = {
  state: {
    usage: `state ESTABLISHED; ${STATE_NAMES.join(', ')}`,
    text: true,
    answer: (play, c) => play.stateOf(c),
  },
  end: {
    usage: 'end reset; none, normal, reset, refused, timeout, unreachable, aborted',
    text: true,
    answer: (_play, c) => c.end,
  },
  events: {
    usage: 'events established fin closed: all the owner was told, in order',
    text: true,
    answer: (_play, c) => (c.events.length === 0 ? 'none' : c.events.join(' ')),
  },
  phase: {
    usage: 'phase open; open, recovery, loss',
    text: true,
    answer: (play, c) => {
      const ca = play.blockOf(c)?.caState;
      return ca === CA_RECOVERY ? 'recovery' : ca === CA_LOSS ? 'loss' : 'open';
    },
  },
  cwnd: ofBlock('cwnd 10: whole segments', (t) => Math.floor(t.cwnd / t.mss)),
  cwnd_bytes: ofBlock('cwnd_bytes 14600', (t) => t.cwnd),
  ssthresh: ofBlock('ssthresh 5: whole segments; -1 = none yet', (t) =>
    t.ssthresh === NONE_MS ? -1 : Math.floor(t.ssthresh / t.mss),
  ),
  ssthresh_bytes: ofBlock('ssthresh_bytes 5000; -1 = none yet', (t) => (t.ssthresh === NONE_MS ? -1 : t.ssthresh)),
  pipe: ofBlock('pipe 3000: bytes believed to be in the network', pipe),
  flight: ofBlock('flight 3000: bytes sent and not acknowledged', (t) => (t.sndNxt - t.sndUna) | 0),
  mss: ofBlock('mss 1460: bytes of data per segment', (t) => t.mss),
  srtt_ms: ofBlock('srtt_ms 100', (t) => Math.round(t.srtt / 1000)),
  rttvar_ms: ofBlock('rttvar_ms 50', (t) => Math.round(t.rttvar / 1000)),
  rto_ms: ofBlock('rto_ms 1000', (t) => t.rtoMs),
  send_window: ofBlock('send_window 65535: bytes', (t) => t.sndWnd),
  receive_window: ofBlock('receive_window 65535: bytes', (t) => (t.rcvAdv - t.rcvNxt) | 0),
  unread: ofBlock('unread 1000: bytes in order that nobody has read', (t) => t.rcvQueued),
  out_of_order: ofBlock('out_of_order 1000: bytes that wait behind a hole', (t) => t.ofoBytes),
  queued: ofBlock('queued 1000: bytes sent or to be sent, not acknowledged', (t) => t.sndQueued),
  open: { usage: 'open 1: control blocks', answer: (play) => play.rig.host.tcp.open },
  half_open: { usage: 'half_open 1', answer: (play) => play.rig.host.tcp.listeners.halfOpen },
  time_wait: { usage: 'time_wait 1: rows', answer: (play) => play.rig.host.tcp.timeWait.size },
  drops: {
    usage: 'drops tcp_bad_ack 1: frames since the start',
    of: () => DROP_REASONS.map((r) => r.name),
    answer: (play, _c, of) => play.rig.dropped(DROP_REASONS.findIndex((r) => r.name === of)),
  },
  stats: {
    usage: 'stats challengeAcks 1',
    of: () => Object.keys(new TcpStats()),
    answer: (play, _c, of) => play.rig.host.tcp.stats[of as keyof TcpStats],
  },
};
