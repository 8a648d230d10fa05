/**
 * The worker thread: one data plane from its memory plan to its last frame. Blocks in its loop; talks to the control
 * thread through shared memory, and by messages for rare events only.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Capture } from '../../lb/capture/capture.ts';
import { attachCapture } from '../../lb/capture/record.ts';
import { SessionLog } from '../../lb/l7/session-log.ts';
import { Context } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import { installSchedulers } from '../schedulers/install.ts';
import { Applier } from './apply.ts';
import { openCapture } from './capture.ts';
import { realClock } from './clock.ts';
import { Receiver } from './commands.ts';
import { conflictKey, EventLimiter, failureKey, noServerKey, scarceKey, type WorkerEvent } from './events.ts';
import { driveLink, injectFaults } from './link.ts';
import { LinkStats } from './link-stats.ts';
import { LinkWatch } from './link-watch.ts';
import { runLoop } from './loop.ts';
import { buildPipeline } from './pipeline.ts';
import { CLOCK_MS, DRAIN, OPEN, RUNNING, STATUS, STOP, STOPPED, type WorkerData } from './plan.ts';
import { PollWaiter } from './poll.ts';
import { answerQuestion } from './questions.ts';
import { CryptoRandom } from './random.ts';
import { type LoopStats, StatsPublisher } from './stats.ts';
import { boundsOf, StrainWatch } from './strain-watch.ts';

/** Connections of layer 4 ended between two turns: each may send two resets. */
const FLUSH_AT_ONCE = 256;

const data = workerData as WorkerData;
const control = new Int32Array(data.share.control);
const tell = (event: WorkerEvent): void => parentPort!.postMessage(event);

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
const bare = data.links.map((link) => driveLink(ctx, link));
const open = bare.map(({ device }) => device);
const capture = data.capture === null ? null : openCapture(ctx, open, data.capture);
// Outermost: a capture shows what is on the wire, and netif sees the faults.
const devices = (capture?.devices ?? open).map((device, i) =>
  injectFaults(ctx, device, data.links[i]!.name, i, data.fault),
);
const plugs = bare.map(({ mac }, i) => ({ device: devices[i]!, mac }));

const guardWatch = {
  nowUs: () => realClock.nowUs(),
  gaveUp(name: string, why: string) {
    loop.schedulerFallbacks += 1;
    tell({ type: 'schedulerGaveUp', name, why });
  },
};
installSchedulers(data.schedulers, guardWatch);

const pipeline = buildPipeline(ctx, data.config, plugs, data.share, {
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
});
const { host, proxy, l4, health } = pipeline;
const liveCapture = new Capture(host, l4, attachCapture(data.share.capture));
const applier = new Applier(pipeline, data.config);
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
const watch = new LinkWatch(
  devices,
  (down) => {
    loop.linkDowns += down;
    host.routes.refresh();
  },
  tell,
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

runLoop(host, realClock, waiter, control, loop, {
  command(command) {
    if (command >= DRAIN && !draining) {
      draining = true;
      proxy.stopListening();
      l4?.drain();
    }
    if (command >= STOP) {
      health.stop();
      proxy.abortAll();
      host.turn(realClock.nowUs());
      while (l4?.flush(FLUSH_AT_ONCE)) host.turn(realClock.nowUs());
      return false;
    }
    return true;
  },
  mail() {
    receiver.poll();
  },
  housekeeping() {
    if (sessionLog !== null) sessionLog.epochMs = Date.now() - realClock.nowUs() / 1000;
    publisher.publish();
    linkStats.publish(pipeline.ports);
    applier.sweep(ctx.nowMs);
    Atomics.store(control, OPEN, busy());
    Atomics.store(control, CLOCK_MS, ctx.nowMs);
    limiter.flush(ctx.nowMs);
    strain.look(ctx.nowMs);
    return watch.look() && !(draining && busy() === 0);
  },
});

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
