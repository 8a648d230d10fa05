/**
 * Plays a packet script: the host runs its whole stack over a memory wire under a fake clock (tcp-peer.ts), the script is
 * the far end of the wire and the application. Frame conservation is checked whenever the host rests. At the end nothing
 * that it sent may be unaccounted for, and after all is reset it holds nothing.
 */
import * as sock from '../../../stack/tcp/socket.ts';
import { CLOSED, STATE_NAMES } from '../../../stack/tcp/state.ts';
import type { Tcb } from '../../../stack/tcp/tcb.ts';
import { TW_BASE } from '../../../stack/tcp/timewait.ts';
import type { DecodedSegment } from '../segment.ts';
import { HOST, PEER, TcpRig } from '../tcp-peer.ts';
import { CALLS } from './calls.ts';
import { Connection, Owner } from './connection.ts';
import { icmpOf, type Relative, relative, segmentOf, textOf } from './frame.ts';
import { differences } from './match.ts';
import { QUESTIONS } from './questions.ts';
import type { CallText, QuestionText, Script, SegmentText, Step, When } from './script.ts';
import { ScriptError } from './script.ts';
import { type Settings, settingsOf } from './settings.ts';

const DEFAULT_PORT = 80;

interface Sent {
  readonly us: number;
  readonly conn: Connection;
  readonly segment: DecodedSegment;
  readonly relative: Relative;
}

const seconds = (us: number): string => `@${(us / 1e6).toFixed(3)}`;

export class Play {
  readonly rig: TcpRig;
  readonly owner: Owner;
  private readonly script: Script;
  private readonly settings: Settings;
  private readonly connections = new Map<number, Connection>();
  private readonly queue: Sent[] = [];
  private taken = 0;
  /** When the last step took place, us since the start. */
  private last = 0;
  private step: Step;

  constructor(script: Script) {
    this.script = script;
    this.settings = settingsOf(script);
    this.step = script.steps[0]!;
    this.rig = new TcpRig(this.settings.rig);
    this.rig.ignoreStrangers = true;
    this.owner = new Owner((tcb) => this.connectionOf(tcb.lport, tcb.rport), this.settings.nagle);
  }

  run(): void {
    for (this.step of this.script.steps) {
      try {
        this.one(this.step);
      } catch (e) {
        if (e instanceof ScriptError) throw e;
        this.fail(`the host broke a rule: ${(e as Error).message}`);
      }
    }
    this.collect();
    if (this.queue.length > 0) {
      const rest = this.queue.map((s) => `${seconds(s.us)} ${this.name(s.conn)}> ${textOf(s.relative)}`);
      this.fail(`the script ends, but the host sent ${rest.length} more`, rest);
    }
    this.clear();
  }

  fail(what: string, more: readonly string[] = []): never {
    const { file, lines } = this.script;
    throw new ScriptError(file, this.step.line, what, lines[this.step.line - 1] ?? '', more);
  }

  private one(step: Step): void {
    const { action, conn } = step;
    const c = this.connection(conn);
    if (action.kind === 'expect') {
      this.expect(c, action.segment, step.when);
      return;
    }
    this.moveTo(this.base(step.when) + step.when.from);
    switch (action.kind) {
      case 'send':
        if (action.segment.data !== undefined) c.spelt = true;
        this.rig.inject(segmentOf(c, action.segment));
        this.rig.pump();
        break;
      case 'icmp':
        this.rig.inject(icmpOf(c, action.icmp));
        this.rig.pump();
        break;
      case 'call':
        this.call(c, action.call);
        break;
      case 'quiet':
        this.collect();
        if (this.queue.length > 0) {
          const { us, relative: r, conn: of } = this.queue[0]!;
          this.fail('the host was to be quiet', [`got       ${seconds(us)} ${this.name(of)}> ${textOf(r)}`]);
        }
        break;
      case 'ask':
        this.ask(c, action.question);
        break;
    }
    this.collect();
  }

  private base(when: When): number {
    return when.since === 'start' ? 0 : this.last;
  }

  private get us(): number {
    return Math.round(this.rig.t * 1000);
  }

  private moveTo(us: number): void {
    if (us > this.us) this.rig.advance((us - this.us) / 1000);
    this.last = Math.max(us, this.last);
  }

  /** Lets time pass until the host sends something, at most until `us`. */
  private await(us: number): void {
    this.collect();
    while (this.queue.length === 0 && this.us < us) {
      const left = (us - this.us) / 1000;
      this.rig.advance(Math.min(Math.max(this.rig.host.nextDue(Math.ceil(left)), 1), left));
      this.collect();
    }
  }

  private expect(c: Connection, want: SegmentText, when: When): void {
    const base = this.base(when);
    const { toleranceUs } = this.settings;
    const [from, to] = [base + when.from, base + when.to];
    this.await(to + toleranceUs);
    const got = this.queue.shift();
    const due = from === to ? seconds(from) : `${seconds(from)}~${seconds(to)}`;
    if (got === undefined) this.fail('the host sent nothing', [`expected  ${due}`]);
    const wrong = differences(got.conn, want, got.relative, got.segment);
    if (got.conn !== c) wrong.unshift(`connection #${got.conn.n}, expected #${c.n}`);
    if (got.us < from - toleranceUs) wrong.push(`too early: ${seconds(got.us)}, expected ${due}`);
    if (got.us > to + toleranceUs) wrong.push(`too late: ${seconds(got.us)}, expected ${due}`);
    if (wrong.length > 0) {
      const text = `got       ${seconds(got.us)} ${this.name(got.conn)}> ${textOf(got.relative)}`;
      this.fail('the host sent something else', [...wrong, text]);
    }
    this.last = from === to ? from : got.us;
  }

  private call(c: Connection, { name, args, result }: CallText): void {
    const value = CALLS[name]!.run(this, c, args);
    this.rig.pump();
    if (result === undefined) return;
    const got = typeof value === 'string' && typeof result === 'number' ? value.length : value;
    if (got !== result) {
      this.fail(`${name}() returned something else`, [
        `expected  ${JSON.stringify(result)}`,
        `got       ${JSON.stringify(got)}`,
      ]);
    }
  }

  private ask(c: Connection, { name, of, comparison, value }: QuestionText): void {
    const got = QUESTIONS[name]!.answer(this, c, of ?? '');
    const holds =
      comparison === '='
        ? got === value
        : comparison === '<'
          ? got < value
          : comparison === '>'
            ? got > value
            : comparison === '<='
              ? got <= value
              : got >= value;
    if (!holds) {
      const what = of === undefined ? name : `${name} ${of}`;
      this.fail(`${what} is something else`, [`expected  ${comparison} ${value}`, `got       ${got}`]);
    }
  }

  /** Takes what came out since, and learns from it where the host's numbers and timestamps begin. */
  private collect(): void {
    const { sent } = this.rig;
    for (; this.taken < sent.length; this.taken++) {
      const { segment, at } = sent[this.taken]!;
      const conn = this.connectionOf(segment.sport, segment.dport);
      if (segment.flags.includes('S')) {
        conn.hostIss = segment.seq;
        if (!segment.flags.includes('A') || conn.tcb === null) conn.tsBase = null;
      }
      if (segment.ts !== undefined) {
        conn.tsBase ??= (segment.ts[0] - Math.floor(at)) | 0;
        conn.lastTs = segment.ts[0];
      }
      this.queue.push({ us: Math.round(at * 1000), conn, segment, relative: relative(conn, segment) });
    }
  }

  private name(c: Connection): string {
    return c.n === 1 ? '' : `#${c.n} `;
  }

  private port = DEFAULT_PORT;

  listen(port: number, backlog: number): void {
    this.rig.host.tcp.listeners.add(HOST, port, backlog, this.owner, 0);
    this.port = port;
  }

  private connection(n: number): Connection {
    let c = this.connections.get(n);
    if (c === undefined) {
      c = new Connection(n, this.port, (this.settings.peerIss + (n - 1) * 10_000_000) | 0);
      this.connections.set(n, c);
    }
    return c;
  }

  private connectionOf(hostPort: number, peerPort: number): Connection {
    for (const c of this.connections.values()) if (c.hostPort === hostPort && c.peerPort === peerPort) return c;
    // A land attack makes the host answer itself: nothing the script knows.
    return this.fail(`a segment between ports ${hostPort} and ${peerPort}, which no connection has`);
  }

  private flow(c: Connection): number {
    return this.rig.host.tcp.flows.find(PEER, HOST, (c.peerPort << 16) | c.hostPort);
  }

  blockOf(c: Connection): Tcb | null {
    const value = this.flow(c);
    return value === 0 || value >= TW_BASE ? null : this.rig.host.tcp.blocks[value]!;
  }

  stateOf(c: Connection): string {
    if (this.flow(c) >= TW_BASE) return 'TIME-WAIT';
    return STATE_NAMES[this.blockOf(c)?.state ?? CLOSED]!;
  }

  /** Everything ends now; then the host must hold nothing. */
  private clear(): void {
    const { tcp } = this.rig.host;
    tcp.abortAll();
    this.rig.pump();
    for (const c of this.connections.values()) if (c.tcb !== null) sock.close(tcp, c.tcb);
    this.rig.pump();
    this.rig.assertEmpty();
  }
}
