/**
 * The worker thread: one data plane from its memory plan to its last frame. Blocks in its loop; talks to the control
 * thread through shared memory, and by messages for rare events only.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Capture } from '../../lb/capture/capture.ts';
import { attachCapture } from '../../lb/capture/record.ts';
import { SessionLog } from '../../lb/l7/session-log.ts';
import { Context } from '../../stack/context.ts';
import { DEFAULT_HOST } from '../../stack/host.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import { installSchedulers } from '../schedulers/install.ts';
import { warmUp } from '../warmup/index.ts';
import { Applier } from './apply.ts';
import { captureName, openCapture } from './capture.ts';
import { realClock } from './clock.ts';
import { Receiver } from './commands.ts';
import { dieIfAsked } from './crash.ts';
import { conflictKey, EventLimiter, failureKey, noServerKey, scarceKey, type WorkerEvent } from './events.ts';
import { driveLink, injectFaults, type LinkHandle } from './link.ts';
import { LinkStats } from './link-stats.ts';
import { LinkWatch } from './link-watch.ts';
import { type Engine, runLoop } from './loop.ts';
import { MtuFollower } from './mtu-follow.ts';
import { Peers } from './peers.ts';
import { pinTo } from './pin.ts';
import { buildPipeline } from './pipeline.ts';
import {
  CLOCK_MS,
  DRAIN,
  GENERATION,
  MAX_CONNS,
  OPEN,
  QUIET,
  RUNNING,
  STATUS,
  STOP,
  STOPPED,
  type WorkerData,
} from './plan.ts';
import { PollWaiter } from './poll.ts';
import { answerQuestion } from './questions.ts';
import { CryptoRandom } from './random.ts';
import { type LoopStats, StatsPublisher } from './stats.ts';
import { boundsOf, StrainWatch } from './strain-watch.ts';

/** Connections of layer 4 ended between two turns: each may send two resets. */
const FLUSH_AT_ONCE = 256;

/** How long a worker waits for those after it to stop. */
const OUTLAST_US = 500_000;

const data = workerData as WorkerData;
const control = new Int32Array(data.share.control);
const tell = (event: WorkerEvent): void => parentPort!.postMessage(event);
const isFirst = data.index === 0;
if (data.peers.length > 1) pinTo(data.index);
warmUp(data.config, realClock, data.peers.length > 1);

const limiter = new EventLimiter(tell);
const loop: LoopStats = { turns: 0, sleeps: 0, schedulerFallbacks: 0, linkDowns: 0 };

const pool = FramePool.attach(data.share.pool, true);
const ctx = new Context(
  pool,
  new CryptoRandom(),
  new Float64Array(data.share.fate),
  new Float64Array(data.share.drops),
);
ctx.tick(realClock.nowUs());
const own = data.links.filter((link): link is LinkHandle => link.kind !== 'remote');
const bare = own.map((link) =>
  driveLink(ctx, link, (changed) => tell({ type: 'linkChanged', index: data.links.indexOf(link), link: changed })),
);
const open = bare.map(({ device }) => device);
const capture =
  data.capture === null
    ? null
    : openCapture(ctx, open, captureName(data.capture, data.index), control[GENERATION] !== 0);
// Outermost: a capture shows what is on the wire, and netif sees the faults.
const driven = (capture?.devices ?? open).map((device, i) => injectFaults(ctx, device, own[i]!.name, i, data.fault));
const peers = data.peers.length > 1 ? new Peers(ctx, data.index, control, data.peers) : null;
// What arrives is looked at for its owner last of all, right before netif.
const plugs = data.links.map((link, i) => {
  const { mac } = link;
  if (link.kind !== 'remote') {
    const device = driven[own.indexOf(link)]!;
    return { mac, device: peers === null ? device : peers.handover.around(device) };
  }
  const seen = new LinkStats(data.peers[link.via]!.links);
  return { mac, device: peers!.handover.remote(link.device, link.via, seen.of(i, link.mtu)) };
});
const devices = plugs.map(({ device }) => device);

const guardWatch = {
  nowUs: () => realClock.nowUs(),
  gaveUp(name: string, why: string) {
    loop.schedulerFallbacks += 1;
    tell({ type: 'schedulerGaveUp', name, why });
  },
};
installSchedulers(data.schedulers, guardWatch);

const pipeline = buildPipeline(
  ctx,
  data.config,
  plugs,
  data.share,
  {
    onConflict(port, ip, macHi, macLo) {
      if (limiter.again(conflictKey(ip))) return;
      limiter.note(conflictKey(ip), { type: 'conflict', port, ip, macHi, macLo, count: 1 }, ctx.nowMs);
    },
    connectFailed(service, dest, end, retry) {
      if (limiter.again(failureKey(dest, retry))) return;
      const event = { type: 'connectFailed', service, dest, end, retry, count: 1 } as const;
      limiter.note(failureKey(dest, retry), event, ctx.nowMs);
    },
    noServer(service) {
      if (limiter.again(noServerKey(service))) return;
      limiter.note(noServerKey(service), { type: 'noServer', service, count: 1 }, ctx.nowMs);
    },
    healthChanged(service, dest, up, why) {
      tell({ type: 'healthChanged', service, dest, up, why });
    },
    portsScarce(address, used, size) {
      if (limiter.again(scarceKey(address))) return;
      limiter.note(scarceKey(address), { type: 'portsScarce', address, used, size, count: 1 }, ctx.nowMs);
    },
  },
  DEFAULT_HOST,
  MAX_CONNS,
  {
    worker: data.index,
    workers: data.peers.length,
    handover: peers?.handover ?? null,
  },
);
const { host, proxy, l4, health } = pipeline;
const liveCapture = new Capture(host, l4, attachCapture(data.share.capture));
const applier = new Applier(pipeline, data.config, data.version);
for (const moment of data.moments) applier.repeat(moment);
const receiver = new Receiver(
  data.share.commands,
  (batch) => {
    let error: string | null = null;
    try {
      installSchedulers(batch.schedulers ?? [], guardWatch);
      applier.apply(batch);
    } catch (thrown) {
      error = (thrown as Error).message;
    }
    tell({ type: 'applied', version: batch.version, error });
    // The first has taken it, so it holds: who cannot follow begins anew with it.
    if (error !== null && !isFirst) throw new Error(`it cannot follow a change: ${error}`);
  },
  (id, question) => {
    let answer: unknown = null;
    let error: string | null = null;
    try {
      answer = answerQuestion(pipeline, liveCapture, question);
    } catch (thrown) {
      error = (thrown as Error).message;
    }
    tell({ type: 'answer', id, answer, error });
  },
);
const sessionLog = data.share.sessionLog === null ? null : new SessionLog(SpscRing.attach(data.share.sessionLog, 0));
proxy.logTo(sessionLog);
const waiter = new PollWaiter(devices, data.eventFd);
// All workers see the same happen to a link.
const watch = new LinkWatch(
  devices,
  (down) => {
    loop.linkDowns += down;
    host.routes.refresh();
  },
  isFirst ? tell : () => {},
);
const mtus = new MtuFollower(
  pipeline.ports,
  data.config.links.map(({ mtu }) => mtu),
  () => {
    host.routes.refresh();
    host.tcp.followLinks();
  },
  isFirst ? tell : () => {},
);
const strain = new StrainWatch(boundsOf(devices, host, proxy, l4), tell);
const publisher = new StatsPublisher(data.share.counters, host, proxy, l4, health, loop);
const linkStats = new LinkStats(data.share.links);
let draining = false;
/** What keeps a drain waiting. */
const busy = (): number => proxy.open + (l4?.established ?? 0);

publisher.publish();
linkStats.publish(pipeline.ports);
Atomics.store(control, CLOCK_MS, ctx.nowMs);
Atomics.store(control, STATUS, RUNNING);
tell({ type: 'running' });

/** It may drive links for those after it, and so ends after them, though it does not wait long. */
function outlast(): void {
  if (peers === null) return;
  const until = realClock.nowUs() + OUTLAST_US;
  while (!peers.laterStopped() && realClock.nowUs() < until) host.turn(realClock.nowUs());
}

const engine: Engine =
  peers === null
    ? host
    : {
        turn(now) {
          const received = host.turn(now);
          const { handover } = peers;
          const { moved } = handover;
          handover.moved = 0;
          return received + moved;
        },
        nextDue: (limitMs) => host.nextDue(limitMs),
        prepareSleep: () => host.prepareSleep(),
      };

runLoop(
  engine,
  realClock,
  waiter,
  control,
  loop,
  {
    command(command) {
      if (command >= DRAIN && !draining) {
        draining = true;
        proxy.stopListening();
        l4?.drain();
        Atomics.store(control, OPEN, busy());
        Atomics.store(control, QUIET, 1);
      }
      if (command >= STOP) {
        health.stop();
        proxy.abortAll();
        host.turn(realClock.nowUs());
        while (l4?.flush(FLUSH_AT_ONCE)) host.turn(realClock.nowUs());
        outlast();
        return false;
      }
      return true;
    },
    mail() {
      peers?.look();
      receiver.poll();
    },
    housekeeping() {
      dieIfAsked(data.index, control[GENERATION]!);
      if (sessionLog !== null) sessionLog.epochMs = Date.now() - realClock.nowUs() / 1000;
      publisher.publish();
      linkStats.publish(pipeline.ports);
      applier.sweep(ctx.nowMs);
      Atomics.store(control, OPEN, busy());
      Atomics.store(control, CLOCK_MS, ctx.nowMs);
      limiter.flush(ctx.nowMs);
      strain.look(ctx.nowMs);
      mtus.look();
      return watch.look() && !(draining && busy() === 0 && (peers?.allQuiet() ?? true));
    },
  },
  data.config.global.polling === 'busy' ? Number.POSITIVE_INFINITY : undefined,
);

// Whoever is left, halfway through a handshake for instance, is told rather than left to time out.
host.tcp.abortAll();
host.turn(realClock.nowUs());
host.netif.close();
capture?.close();
publisher.publish();
linkStats.publish(pipeline.ports);
limiter.flushAll();
Atomics.store(control, OPEN, busy());
Atomics.store(control, STATUS, STOPPED);
tell({ type: 'stopped' });
