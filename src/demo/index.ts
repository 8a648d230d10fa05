/**
 * `tsvs demo`: a client, tsvs and two servers in one process, without privileges, on any operating system. Pings the VIP,
 * sends requests, and shows the way of one packet through tsvs. The time shown is simulated: the same seed gives the same
 * output, whatever the machine.
 */
import { writeFileSync } from 'node:fs';
import type { Context } from '../../stack/context.ts';
import { FATE_CREATED, FATE_DELIVERED, FATE_DROPPED, FATE_RECEIVED, FATE_SENT } from '../../stack/context.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import type { Device } from '../../stack/netif/device.ts';
import { PcapWriter } from '../../stack/netif/middleware/pcap-writer.ts';
import { formatIpv4 } from '../config/address.ts';
import type { Config, DestConfig } from '../config/model.ts';
import { HOP_US, Network, SMALL_HOST } from '../simulated/network.ts';
import { buildPipeline, type Pipeline } from '../workers/pipeline.ts';
import { planWorker } from '../workers/plan.ts';
import { DEMO_CONFIG, demoConfig } from './config.ts';
import { HttpRequest, HttpServer } from './http.ts';
import { type Echo, Pinger } from './ping.ts';
import { PacketWay } from './way.ts';

export interface DemoOptions {
  readonly requests: number;
  readonly seed: number;
  /** File that gets everything that passes tsvs' port, as pcapng. */
  readonly capture?: string;
}

export type Print = (line: string) => void;

const PINGS = 3;
/** Simulated time a step of the demo may take; far more than it needs. */
const PATIENCE_MS = 10_000;
const SETTLE_MS = 5_000;
/** The demo's time 0 in captures: 2020-01-01, so that the same seed writes the same file. */
const EPOCH_US = 1_577_836_800_000_000;

/** The command: prints to stdout and sets the exit code, 1 when anything failed. */
export function demo(options: DemoOptions): void {
  try {
    if (!runDemo(options, console.log)) process.exitCode = 1;
  } catch (error) {
    console.error(`tsvs demo: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

/** Runs all of it; false when anything failed. Throws the system's error when the capture cannot be written. */
export function runDemo(options: DemoOptions, print: Print): boolean {
  const config = demoConfig();
  const service = config.services[0]!;
  const network = new Network(options.seed);
  const client = network.addHost('client', config.network.gateway!, config.network.prefixLen);
  const { pipeline, device, saveCapture } = addTsvs(network, config);
  const servers = service.dests.map((dest, i) => {
    const name = `rs-${i + 1}`;
    return {
      dest,
      http: new HttpServer(network.addHost(name, dest.ip, config.network.prefixLen), name, dest.ip, dest.port),
    };
  });
  const vip = formatIpv4(service.vip);
  print('One process, four hosts with a TCP/IP stack each, one switch in memory:');
  print('');
  drawNetwork(
    ['client', ...servers.map(({ http }) => http.name)],
    [formatIpv4(config.network.gateway!), ...servers.map(({ dest }) => formatIpv4(dest.ip))],
    vip,
    print,
  );
  print('');
  print('The configuration of tsvs (config/lb.conf is a sample with comments):');
  print('');
  for (const line of DEMO_CONFIG.trimEnd().split('\n')) print(`  ${line}`.trimEnd());
  print('');

  // Every host announces its address twice; then the network is quiet.
  network.run(SETTLE_MS, () => false);
  const pinged = pingVip(network, new Pinger(client, service.vip), vip, print);
  print('');
  const way = new PacketWay(pipeline, device);
  const done = sendRequests(
    options.requests,
    network,
    way,
    (now) => new HttpRequest(client, now, service.vip, service.port, vip),
  );
  way.end();
  const answered = reportRequests(done, servers, vip, print);
  print('');
  reportWay(way, print);
  print('');
  const conserved = reportFrames(pipeline.host.ctx, print);
  if (options.capture !== undefined) {
    writeFileSync(options.capture, saveCapture());
    print(`${options.capture} holds every frame of tsvs' port: open it with wireshark or tshark.`);
  }
  return pinged && answered && conserved && way.complete;
}

function drawNetwork(names: readonly string[], addresses: readonly string[], vip: string, print: Print): void {
  const width = Math.max(...addresses.map((address) => address.length));
  names.forEach((name, i) => {
    const right = i === names.length >> 1 ? `-- switch --- tsvs ${vip} (the VIP)` : '';
    print(`  ${name.padEnd(6)}  ${addresses[i]!.padEnd(width)} --+${right}`);
  });
}

interface Balancer {
  readonly pipeline: Pipeline;
  readonly device: Device;
  /** The capture so far, as a file. */
  saveCapture(): Uint8Array;
}

/** The data plane of a worker, as `tsvs run` builds it, on a memory wire. */
function addTsvs(network: Network, config: Config): Balancer {
  const ctx = network.newContext();
  const chunks: Uint8Array[] = [];
  const device = new PcapWriter(ctx, network.plug(ctx, 'tsvs'), {
    sink: (bytes) => chunks.push(bytes.slice()),
    epochMicros: EPOCH_US,
    snapLength: 65535,
  });
  const quiet = { onConflict() {}, connectFailed() {}, noServer() {}, portsScarce() {}, healthChanged() {} };
  const pipeline = buildPipeline(
    ctx,
    config,
    [{ device, mac: config.links[0]!.mac! }],
    planWorker(config),
    quiet,
    SMALL_HOST,
  );
  network.add(pipeline.host);
  return { pipeline, device, saveCapture: () => Buffer.concat(chunks) };
}

function pingVip(network: Network, pinger: Pinger, vip: string, print: Print): boolean {
  print(`$ ping -c ${PINGS} ${vip}`);
  const echoes: Echo[] = [];
  for (let seq = 1; seq <= PINGS; seq++) {
    const echo = pinger.send(seq, network.now);
    echoes.push(echo);
    network.run(1000, () => echo.rttUs >= 0);
    if (echo.rttUs < 0) print(`no answer to icmp_seq=${seq}`);
    else
      print(
        `${echo.bytes} bytes from ${vip}: icmp_seq=${seq} ttl=${echo.ttl} time=${(echo.rttUs / 1000).toFixed(3)} ms`,
      );
  }
  const received = echoes.filter((echo) => echo.rttUs >= 0).length;
  print(
    `${PINGS} packets transmitted, ${received} received (simulated time: ${HOP_US} us each way; the first waits for ARP)`,
  );
  return received === PINGS;
}

/** One after the other; the first with an eye on the way of its data. */
function sendRequests(n: number, network: Network, way: PacketWay, start: (now: number) => HttpRequest): HttpRequest[] {
  const done: HttpRequest[] = [];
  for (let i = 0; i < n; i++) {
    const request = start(network.now);
    done.push(request);
    const finished = network.run(PATIENCE_MS, () => request.done);
    if (!finished) request.problem = 'no answer in time';
    if (i === 0) {
      network.run(PATIENCE_MS, () => way.complete);
      way.end();
    }
  }
  return done;
}

interface Server {
  readonly dest: DestConfig;
  readonly http: HttpServer;
}

function reportRequests(done: readonly HttpRequest[], servers: readonly Server[], vip: string, print: Print): boolean {
  print(`$ for i in $(seq ${done.length}); do curl http://${vip}/; done`);
  const failed = done.filter((request) => request.problem !== '');
  for (const { dest, http } of servers) {
    const n = done.filter((request) => request.answer === http.name).length;
    const share = `${Math.round((100 * n) / done.length)} %`;
    print(
      `  ${http.name}  ${formatIpv4(dest.ip)}:${dest.port}  answered ${String(n).padStart(5)}  ${share.padStart(5)}`,
    );
  }
  for (const problem of new Set(failed.map((request) => request.problem))) {
    print(`  failed: ${problem} (${failed.filter((request) => request.problem === problem).length})`);
  }
  const times = done.filter((r) => r.problem === '').map((r) => (r.answeredUs - r.startedUs) / 1000);
  times.sort((a, b) => a - b);
  if (times.length > 0) {
    const [min, median, max] = [times[0]!, times[times.length >> 1]!, times.at(-1)!].map((t) => t.toFixed(3));
    print(`  connect, ask, answer: min ${min}, median ${median}, max ${max} ms of simulated time`);
  }
  const counted = servers.every(({ http }) => http.served === done.filter((r) => r.answer === http.name).length);
  return failed.length === 0 && counted;
}

const STAGE_WIDTH = 10;
const LINE_WIDTH = 118;

function reportWay(way: PacketWay, print: Print): void {
  print("The way of one packet: the first request's data");
  print(`  ${way.title}`);
  print('');
  const indent = ' '.repeat(2 + 7 + 2 + STAGE_WIDTH + 2);
  for (const { atUs, name, text } of way.stages) {
    const head = `  ${`${atUs} us`.padStart(7)}  ${name.padEnd(STAGE_WIDTH)}  `;
    wrap(text, LINE_WIDTH - head.length).forEach((line, i) => {
      print(i === 0 ? head + line : indent + line);
    });
  }
  if (!way.complete) print('  (not seen to its end)');
}

/** Breaks a text at blanks into lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Every frame that came into being in tsvs must be accounted for. */
function reportFrames(ctx: Context, print: Print): boolean {
  const { fate, drops, pool } = ctx;
  const [received, created] = [fate[FATE_RECEIVED]!, fate[FATE_CREATED]!];
  const [sent, delivered, dropped] = [fate[FATE_SENT]!, fate[FATE_DELIVERED]!, fate[FATE_DROPPED]!];
  const held = pool.inUse;
  const conserved = received + created === sent + delivered + dropped + held;
  print("tsvs' frames: none is lost without a reason.");
  print(
    `  received ${received} + created ${created} = sent ${sent} + delivered ${delivered} + dropped ${dropped} + held ${held}`,
  );
  drops.forEach((n, reason) => {
    if (n > 0) print(`  dropped ${n}: ${DROP_REASONS[reason]!.name}. ${DROP_REASONS[reason]!.sentence}`);
  });
  if (!conserved) print('  THE SUMS DIFFER');
  return conserved;
}
