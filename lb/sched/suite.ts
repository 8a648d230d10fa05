/**
 * The behaviour every scheduler has to show (lb/sched/contract.ts), as cases without a test runner: each throws when
 * the scheduler at hand breaks its promise. No clock, no unseeded randomness. Run by tests for the schedulers built in, and
 * at start for one from a file (src/schedulers). Cold.
 */

import { AVAILABLE, DestTable, INHIBITED, OVERLOAD } from '../dest.ts';
import { eligible, FlowKey, type SchedEnv, type Scheduler, type SchedView } from './contract.ts';

export type MakeScheduler = (view: SchedView, env: SchedEnv) => Scheduler;

export interface ContractCase {
  readonly name: string;
  /** Set where the seed makes no difference and the case takes its time. */
  readonly once?: boolean;
  /** `mayRefuse`: the scheduler may pick none although a server is eligible, and then only that is not held against it. */
  run(make: MakeScheduler, seed: number, mayRefuse?: boolean): void;
}

function check(ok: boolean, message: string): void {
  if (!ok) throw new Error(message);
}

/** Marsaglia's xorshift32: never 0, good enough to shuffle with. */
function random(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x;
  };
}

const CAPACITY = 256;

/** A service of `n` servers with a scheduler, and the changes an operator and the traffic make to it. */
class Rig implements SchedView {
  readonly table = DestTable.create(new SharedArrayBuffer(DestTable.bytes(CAPACITY)), 0, CAPACITY);
  readonly flow = new FlowKey();
  readonly next: () => number;
  readonly scheduler: Scheduler;
  readonly mayRefuse: boolean;
  dests: SchedView['dests'] = this.table;
  ids = new Int32Array(0);
  count = 0;

  constructor(make: MakeScheduler, seed: number, weights: readonly number[], mayRefuse = false) {
    this.next = random(seed);
    this.mayRefuse = mayRefuse;
    const forScheduler = random(seed ^ 0x5bd1e995);
    this.scheduler = make(this, { random: { next: forScheduler }, worker: 0, workers: 1 });
    weights.forEach((weight, i) => {
      this.add(i, weight);
    });
  }

  /** An integer in 0..n-1. */
  below(n: number): number {
    return (this.next() >>> 0) % n;
  }

  add(i: number, weight: number): void {
    const id = this.table.add(1, { addr: 0x0a000100 + i, port: 80, weight });
    if (!this.ids.subarray(0, this.count).includes(id)) this.relist([...this.ids.subarray(0, this.count), id]);
    else this.scheduler.update();
  }

  remove(id: number): void {
    this.table.remove(id);
    this.relist([...this.ids.subarray(0, this.count)].filter((other) => other !== id));
  }

  setWeight(id: number, weight: number): void {
    this.table.weight[id] = weight;
    this.scheduler.update();
  }

  relist(ids: number[]): void {
    this.ids = Int32Array.from(ids);
    this.count = ids.length;
    this.scheduler.update();
  }

  newFlow(): void {
    this.flow.set(this.next(), this.next(), 1024 + this.below(64000), 80, 6, 0);
  }

  /** Picks for the current flow and checks the choice. */
  pick(): number {
    const id = this.scheduler.pick(this.flow);
    const list = this.ids.subarray(0, this.count);
    if (id !== 0) {
      check(list.includes(id), `picked ${id}, which is not in the list ${list}`);
      check((this.table.flags[id]! & AVAILABLE) !== 0, `picked ${id}, which is not available`);
      check((this.table.flags[id]! & (OVERLOAD | INHIBITED)) === 0, `picked ${id} with flags ${this.table.flags[id]}`);
      check(this.table.weight[id]! > 0, `picked ${id}, whose weight is 0`);
      check(!this.flow.avoids(id), `picked ${id}, which the flow has to avoid`);
    } else if (!this.mayRefuse) {
      const idle = list.find((other) => eligible(this.table, other, this.flow));
      check(idle === undefined, `picked none although ${idle} is eligible`);
    }
    return id;
  }
}

const equal = (n: number): number[] => new Array<number>(n).fill(1);

const INVALID: readonly (readonly [string, (rig: Rig, id: number) => void])[] = [
  ['overloaded', (rig, id) => (rig.table.flags[id]! |= OVERLOAD)],
  ['inhibited', (rig, id) => rig.table.inhibit(id, true)],
  ['no longer available', (rig, id) => (rig.table.flags[id]! &= ~AVAILABLE)],
  ['of weight 0', (rig, id) => rig.setWeight(id, 0)],
];

/** `heapUsed`: bytes of the heap in use now. */
export const contractCases = (heapUsed: () => number): readonly ContractCase[] => [
  {
    name: 'picks none from an empty service',
    run(make, seed) {
      const rig = new Rig(make, seed, []);
      rig.newFlow();
      check(rig.pick() === 0, 'picked a server from nothing');
    },
  },
  {
    name: 'takes the servers it was created with, without update',
    run(make, seed) {
      const rig = new Rig(make, seed, [2, 1]);
      const scheduler = make(rig, { random: { next: rig.next }, worker: 0, workers: 1 });
      rig.newFlow();
      check(rig.ids.includes(scheduler.pick(rig.flow)), 'picked no server of the list it was given');
    },
  },
  {
    name: 'always picks the only server',
    run(make, seed) {
      const rig = new Rig(make, seed, [3]);
      for (let i = 0; i < 50; i++) {
        rig.newFlow();
        check(rig.pick() === rig.ids[0], 'did not pick the only server');
      }
    },
  },
  ...INVALID.map(
    ([state, spoil]): ContractCase => ({
      name: `never picks a server that is ${state}, and none when all are`,
      run(make, seed, mayRefuse) {
        const rig = new Rig(make, seed, [3, 1, 2, 1, 5], mayRefuse);
        for (const id of [...rig.ids].sort(() => rig.below(3) - 1)) {
          spoil(rig, id);
          for (let i = 0; i < 200; i++) {
            rig.newFlow();
            rig.pick();
          }
        }
        rig.newFlow();
        check(rig.scheduler.pick(rig.flow) === 0, 'picked a server although none is left');
      },
    }),
  ),
  {
    name: 'a retried flow meets every other server once, then none',
    run(make, seed, mayRefuse) {
      const rig = new Rig(make, seed, [1, 4, 2, 1, 3], mayRefuse);
      for (let i = 0; i < 50; i++) {
        rig.newFlow();
        for (let tries = 0; tries < 5; tries++) {
          const id = rig.pick();
          if (id === 0 && mayRefuse) break;
          check(id !== 0, `none left after ${tries} servers of 5`);
          check(rig.flow.avoid(id), 'the flow cannot avoid 5 servers');
        }
        for (const id of rig.ids) if (!rig.flow.avoids(id)) rig.flow.avoid(id);
        check(rig.pick() === 0, 'picked a server although all were tried');
      }
    },
  },
  {
    name: 'a server that becomes valid again without update is used again',
    run(make, seed, mayRefuse) {
      const rig = new Rig(make, seed, equal(3), mayRefuse);
      for (const id of rig.ids) rig.table.inhibit(id, true);
      rig.newFlow();
      rig.pick();
      const back = rig.ids[1]!;
      rig.table.inhibit(back, false);
      let times = 0;
      for (let i = 0; i < 100; i++) {
        rig.newFlow();
        if (rig.pick() === back) times++;
      }
      check(mayRefuse ? times > 0 : times === 100, `picked ${back}, the only one let in again, ${times} times of 100`);
    },
  },
  {
    name: 'stays right through random edits, states and loads',
    run(make, seed, mayRefuse) {
      const rig = new Rig(make, seed, equal(6), mayRefuse);
      const open: number[] = [];
      for (let i = 0; i < 3000; i++) {
        const id = rig.count === 0 ? 0 : rig.ids[rig.below(rig.count)]!;
        const dice = rig.below(40);
        if (dice === 0) rig.add(rig.below(20), rig.below(5));
        else if (id === 0) rig.add(rig.below(20), 1);
        else if (dice === 1) rig.remove(id);
        else if (dice === 2) rig.setWeight(id, rig.below(4));
        else if (dice < 5) rig.table.inhibit(id, dice === 3);
        else if (dice === 5) rig.table.edit(id, { addr: 0, port: 0, weight: rig.below(9), upper: rig.below(4) });
        else if (dice === 6) rig.relist([...rig.ids.subarray(0, rig.count)].reverse());
        else if (dice < 16 && open.length > 0) rig.table.connClose(open.pop()!, false);
        if (dice === 5) rig.scheduler.update();
        rig.newFlow();
        const chosen = rig.pick();
        if (chosen === 0) continue;
        rig.table.connOpen(chosen);
        open.unshift(chosen);
        if (dice > 30 && rig.flow.avoid(chosen)) rig.pick();
      }
    },
  },
  {
    name: 'a server whose row came to mean another one is not picked by its old id',
    run(make, seed, mayRefuse) {
      for (let which = 0; which < 3; which++) {
        const rig = new Rig(make, seed, equal(3), mayRefuse);
        const gone = rig.ids[which]!;
        for (let i = 0; i < 10; i++) {
          rig.newFlow();
          rig.pick();
        }
        rig.remove(gone);
        rig.table.service[gone] = 2;
        rig.table.flags[gone] = AVAILABLE;
        for (let i = 0; i < 200; i++) {
          rig.newFlow();
          rig.pick();
        }
      }
    },
  },
  {
    name: 'update without a change changes no choice',
    run(make, seed, mayRefuse) {
      const weights = [3, 1, 2, 0, 4, 1];
      const calm = new Rig(make, seed, weights, mayRefuse);
      const busy = new Rig(make, seed, weights, mayRefuse);
      for (let i = 0; i < 500; i++) {
        calm.newFlow();
        busy.newFlow();
        if (i % 3 === 0) busy.scheduler.update();
        const want = calm.pick();
        const got = busy.pick();
        check(got === want, `pick ${i} is ${got} after update, ${want} without`);
        for (const rig of [calm, busy]) if (want !== 0 && i % 2 === 0) rig.table.connOpen(want);
      }
    },
  },
  {
    name: 'looks at each server a bounded number of times per pick',
    run(make, seed) {
      const n = 100;
      const rig = new Rig(make, seed, equal(n));
      let reads = 0;
      const counted = new Proxy(rig.table.flags, {
        get(target, key) {
          reads++;
          const value = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      const columns = Object.create(rig.table, { flags: { value: counted } });
      rig.dests = columns;
      const scheduler = make(rig, { random: { next: rig.next }, worker: 0, workers: 1 });
      let worst = 0;
      const measure = (): void => {
        for (let i = 0; i < 300; i++) {
          rig.newFlow();
          reads = 0;
          scheduler.pick(rig.flow);
          worst = Math.max(worst, reads);
        }
      };
      measure();
      for (const id of rig.ids.subarray(1)) rig.table.inhibit(id, true);
      measure();
      rig.table.inhibit(rig.ids[0]!, true);
      measure();
      check(worst > 0, 'the state of no server was looked at');
      check(worst <= 30 * n, `${worst} looks at ${n} servers for one pick`);
    },
  },
  {
    name: 'a choice that is only asked for changes none of those to come',
    run(make, seed, mayRefuse) {
      const rig = (): Rig => new Rig(make, seed, [3, 1, 2, 5], mayRefuse);
      const rigs = [rig(), rig()] as const;
      const [asked, other] = rigs;
      for (let i = 0; i < 300; i++) {
        for (const rig of rigs) {
          rig.newFlow();
          // Addresses come again, loads and states change.
          rig.flow.dst = rig.below(8);
          const id = rig.ids[rig.below(4)]!;
          rig.table.activeConns[id] = rig.below(8);
          rig.table.inhibit(id, rig.below(4) === 0);
        }
        const undo = asked.scheduler.keep?.();
        const foreseen = [asked.pick(), asked.pick()];
        undo?.();
        const id = asked.pick();
        check(id === other.pick(), `pick ${i} would have been another without the question`);
        if (!asked.scheduler.byChance)
          check(foreseen[0] === id, `asked for pick ${i} it says ${foreseen[0]}, not ${id}`);
      }
    },
  },
  {
    name: 'a pick allocates nothing',
    once: true,
    run(make, seed) {
      const rig = new Rig(make, seed, [3, 1, 2, 5]);
      rig.table.inhibit(rig.ids[1]!, true);
      const picks = 100_000;
      let least = Number.POSITIVE_INFINITY;
      // The least of several runs: compiling the code, and the runner itself, allocate too.
      for (let round = 0; round < 8; round++) {
        const before = heapUsed();
        for (let i = 0; i < picks; i++) {
          rig.flow.set(Math.imul(i, 0x9e3779b1), 0x0a000001, i & 0xffff, 80, 6, 0);
          rig.scheduler.pick(rig.flow);
        }
        const used = heapUsed() - before;
        if (used >= 0) least = Math.min(least, used);
      }
      check(least < picks, `${(least / picks).toFixed(2)} bytes per pick`);
    },
  },
];
