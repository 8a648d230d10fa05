/** Both ends of memif when the other does not behave, goes away and comes back. */
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MemifClient } from '../../../../src/links/memif-client.ts';
import * as m from '../../../../src/links/memif-message.ts';
import { type MemifOptions, openMemif, sharePool } from '../../../../src/links/memif-open.ts';
import { MemifServer } from '../../../../src/links/memif-server.ts';
import { GONE, MemifSocket } from '../../../../src/links/memif-socket.ts';
import { F_GETFL, F_SETFL, O_NONBLOCK, syscalls } from '../../../../src/links/syscall.ts';
import { LINK_ERROR, OVERSIZE } from '../../../../stack/drop.ts';
import type { Device } from '../../../../stack/netif/device.ts';
import { assertConserved, bytesOf, newContext, SeededRandom, testFrame } from '../../../contract/device.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-memif-'));
let sockets = 0;
const options = (changes: Partial<MemifOptions> = {}): MemifOptions => ({
  path: join(folder, `sock${sockets}`),
  role: 'client',
  id: 3,
  secret: 'abc',
  queues: 1,
  log2: 6,
  mtu: 1500,
  ...changes,
});

type End<D extends Device> = { ctx: ReturnType<typeof newContext>; device: D };

function server(changes: Partial<MemifOptions> = {}): End<MemifServer> {
  const ctx = newContext();
  return { ctx, device: new MemifServer(ctx, openMemif(options({ role: 'server', ...changes }), [], 1)[0]!) };
}

function client(changes: Partial<MemifOptions> = {}): End<MemifClient> {
  const ctx = newContext();
  return { ctx, device: new MemifClient(ctx, openMemif(options(changes), [sharePool(ctx.pool)])[0]!) };
}

/** Lets time pass at all ends, and each look. */
function turns(n: number, ...ends: End<Device>[]): void {
  const none = new Int32Array(1);
  for (let i = 0; i < n; i++) {
    for (const { ctx, device } of ends) {
      ctx.tick(ctx.now + 100_000);
      device.rx(none, 0);
    }
  }
}

/** Sends one frame and says what arrives. */
function pass(from: End<Device>, to: End<Device>, seed: number): Uint8Array | null {
  const f = testFrame(from.ctx, 100, seed);
  const sent = bytesOf(from.ctx, f);
  if (from.device.tx(Int32Array.of(f), 0, 1) === 0) from.ctx.settle(f, 2);
  const out = new Int32Array(4);
  const n = to.device.rx(out, 4);
  if (n === 0) return null;
  to.ctx.fate[0]! += n;
  const got = bytesOf(to.ctx, out[0]!);
  for (const g of out.subarray(0, n)) to.ctx.settle(g, 2);
  assert.equal(got, sent);
  return got;
}

function done(...ends: End<Device>[]): void {
  for (const { ctx, device } of ends) {
    device.close();
    assertConserved(ctx, device.name);
    assert.is(ctx.pool.inUse, 0);
  }
  sockets += 1;
}

test('a client waits for its server, and finds it again after it was away', () => {
  const c = client();
  turns(5, c);
  assert.is(c.device.up, false);
  for (let round = 0; round < 3; round++) {
    const s = server();
    turns(20, c, s);
    assert.ok(c.device.up && s.device.up, `round ${round}`);
    assert.ok(pass(c, s, round) !== null && pass(s, c, round) !== null);
    s.device.close();
    turns(2, c);
    assert.is(c.device.up, false);
    assert.is(pass(c, s, 1), null, 'nothing is taken while nobody is there');
    assertConserved(c.ctx, 'client alone');
  }
  done(c);
});

test('a client says why it cannot connect, unless nobody is there', async () => {
  const c = client();
  turns(2, c);
  assert.is(c.device.notice, '');
  const other = createServer();
  await new Promise<void>((resolve) => void other.listen(options().path, resolve));
  turns(2, c);
  assert.match(c.device.notice, /cannot connect to .*sock\d+ \(EPROTOTYPE\): is it the socket of a memif server/);
  await new Promise((resolve) => void other.close(resolve));
  const s = server();
  turns(20, c, s);
  assert.ok(c.device.up);
  assert.is(c.device.notice, '');
  done(c, s);
});

test('a server takes the next client when one has gone', () => {
  const s = server();
  for (let round = 0; round < 3; round++) {
    const c = client();
    turns(20, c, s);
    assert.ok(pass(c, s, round) !== null && pass(s, c, round) !== null);
    c.device.close();
    turns(2, s);
    assert.is(s.device.up, false);
  }
  done(s);
});

test('ids and secrets that do not match are refused, and both sides say so', () => {
  for (const [changes, words] of [
    [{ id: 4 }, /ID not found/],
    [{ secret: 'abd' }, /Incorrect secret/],
    [{ queues: 2 }, /takes 1 queues, not 2/],
  ] as const) {
    const s = server();
    const c = client(changes);
    turns(20, c, s);
    assert.is(c.device.up, false);
    assert.match(c.device.notice, words);
    done(c, s);
  }
});

test('slots that were taken are lent again by the next look, whether or not anything has come', () => {
  const s = server();
  const c = client();
  turns(20, c, s);
  const out = new Int32Array(64);
  const fill = (): number => {
    const frames = Array.from({ length: 64 }, (_, i) => testFrame(s.ctx, 100, i));
    const sent = s.device.tx(Int32Array.from(frames), 0, 64);
    for (const f of frames.slice(sent)) s.ctx.settle(f, 2);
    return sent;
  };
  for (let round = 0; round < 3; round++) {
    assert.is(fill(), 63);
    assert.is(c.device.rx(out, 64), 63);
    c.ctx.fate[0]! += 63;
    for (const f of out.subarray(0, 63)) c.ctx.settle(f, 2);
    assert.is(fill(), 0);
    assert.is(c.device.rx(out, 64), 0);
  }
  done(c, s);
});

test('a sleeper is woken: it is armed, and its descriptor becomes readable with the first packet', () => {
  const s = server();
  const c = client();
  turns(20, c, s);
  const sys = syscalls();
  assert.is(c.device.prepareSleep(), false, 'armed, and to be asked again');
  turns(1, c);
  assert.is(c.device.prepareSleep(), true);
  const f = testFrame(s.ctx, 100, 1);
  s.device.tx(Int32Array.of(f), 0, 1);
  const word = new Uint8Array(8);
  assert.is(sys.read(c.device.fd, sys.addressOf(word), 8), 8, 'interrupted');
  assert.is(c.device.prepareSleep(), false, 'there is input already');
  const out = new Int32Array(1);
  assert.is(c.device.rx(out, 1), 1);
  c.ctx.fate[0]! += 1;
  c.ctx.settle(out[0]!, 2);
  const g = testFrame(s.ctx, 100, 2);
  s.device.tx(Int32Array.of(g), 0, 1);
  assert.is(sys.read(c.device.fd, sys.addressOf(word), 8), -1, 'not while it is awake');
  assert.is(c.device.rx(out, 1), 1);
  c.ctx.fate[0]! += 1;
  c.ctx.settle(out[0]!, 2);
  done(c, s);
});

test('a packet that came without an interrupt, while the sleeper was being armed, is found', () => {
  const s = server();
  const c = client();
  turns(20, c, s);
  const f = testFrame(s.ctx, 100, 1);
  s.device.tx(Int32Array.of(f), 0, 1);
  // The server looked at the flag before this; what it put there is seen only now.
  assert.is(c.device.prepareSleep(), false);
  assert.is(c.device.prepareSleep(), false, 'there is input');
  const out = new Int32Array(1);
  assert.is(c.device.rx(out, 1), 1);
  c.ctx.fate[0]! += 1;
  c.ctx.settle(out[0]!, 2);
  assert.is(c.device.prepareSleep(), false, 'armed anew');
  assert.is(c.device.prepareSleep(), true);
  done(c, s);
});

test('a server believes nothing that a client writes', () => {
  const s = server();
  const c = client();
  turns(20, c, s);
  // The client's own ring to the server, written by hand: the last descriptor that was put.
  const { queues } = c.device as unknown as {
    queues: { toServer: { i32: Int32Array; descriptor(i: number): number } }[];
  };
  const ring = queues[0]!.toServer;
  const spoil = (word: number, value: number): void => {
    const f = testFrame(c.ctx, 100, 1);
    const put = (c.device as unknown as { queues: { put: number }[] }).queues[0]!.put;
    c.device.tx(Int32Array.of(f), 0, 1);
    ring.i32[ring.descriptor(put) + word] = value;
    assert.is(s.device.rx(new Int32Array(1), 1), 0);
    c.device.rx(new Int32Array(1), 0);
  };
  spoil(0, 9 << 16);
  spoil(2, -1);
  spoil(1, -1);
  assert.is(s.ctx.drops[LINK_ERROR], 3, 'no region, outside of it, longer than it');
  spoil(0, (1 << 16) | 1);
  assert.is(s.ctx.drops[OVERSIZE], 1, 'a packet in pieces');
  assert.ok(pass(c, s, 5) !== null, 'the next good one passes');
  done(c, s);
});

/** A ring as the server has it. */
interface Ring {
  i32: Int32Array;
}

/** Runs `what` while every read but the first one of the offset in the ring's first descriptor gives a place outside of all regions. */
function changing<T>(ring: Ring, what: () => T): T {
  const { i32 } = ring;
  const offset = '34';
  let reads = 0;
  ring.i32 = new Proxy(i32, {
    get: (words, key) => (key === offset && reads++ > 0 ? -256 : Reflect.get(words, key, words)),
    set: (words, key, value) => Reflect.set(words, key, value, words),
  });
  try {
    return what();
  } finally {
    ring.i32 = i32;
    assert.ok(reads > 0);
  }
}

test('a descriptor that changes while it is looked at leads to no memory but what was checked', () => {
  const s = server();
  const c = client();
  turns(20, c, s);
  const { queues } = s.device as unknown as { queues: { fromClient: Ring; toClient: Ring }[] };
  const { fromClient, toClient } = queues[0]!;
  const f = testFrame(c.ctx, 100, 1);
  const sent = bytesOf(c.ctx, f);
  c.device.tx(Int32Array.of(f), 0, 1);
  const out = new Int32Array(1);
  assert.is(
    changing(fromClient, () => s.device.rx(out, 1)),
    1,
  );
  s.ctx.fate[0]! += 1;
  assert.equal(bytesOf(s.ctx, out[0]!), sent);
  changing(toClient, () => s.device.tx(out, 0, 1));
  assert.is(c.device.rx(out, 1), 1);
  c.ctx.fate[0]! += 1;
  assert.equal(bytesOf(c.ctx, out[0]!), sent);
  c.ctx.settle(out[0]!, 2);
  done(c, s);
});

test('nonsense on the control channel ends the connection, and the next client is served', () => {
  const s = server();
  const sys = syscalls();
  const { path } = options();
  const say = (...messages: Uint8Array[]): void => {
    const socket = MemifSocket.connect(sys, path) as MemifSocket;
    turns(1, s);
    for (const message of messages) {
      socket.send(message);
      turns(1, s);
    }
    turns(1, s);
    assert.is(s.device.up, false);
    socket.close();
    turns(2, s);
  };
  const hello = m.init('x', 3, 'abc');
  const ring = { toServer: true, index: 0, region: 0, offset: 0, log2: 6 };
  say(m.connect('x'));
  say(m.init('x', 3, 'wrong'));
  say(hello, m.addRegion(0, 4096));
  say(hello, m.addRegion(1, 4096));
  say(hello, m.addRing(ring));
  say(hello, m.addRing({ ...ring, log2: 200 }));
  say(hello, m.connect('x'));
  say(hello, hello, m.ack(), m.disconnect('bye'));
  const c = client();
  turns(20, c, s);
  assert.ok(pass(c, s, 7) !== null);
  done(c, s);
});

/** Says something to the server, with descriptors, until the last word is said; the notice then. */
function talk(s: End<MemifServer>, ...messages: (readonly [Uint8Array, number])[]): string {
  const socket = MemifSocket.connect(syscalls(), options().path) as MemifSocket;
  turns(1, s);
  for (const [bytes, fd] of messages) {
    socket.send(bytes, fd);
    turns(1, s);
  }
  const { notice } = s.device;
  socket.close();
  turns(2, s);
  return notice;
}

const HELLO = { minVersion: 1, maxVersion: 513, maxRegion: 255, maxToClient: 3, maxToServer: 4, maxLog2: 14 };
const greeting = [m.init('x', 3, 'abc'), -1] as const;

test('who is silent in the handshake keeps nobody out: after three seconds the next client is served', () => {
  const s = server();
  const sys = syscalls();
  const parts = [[], [greeting], [greeting, greeting, greeting]];
  for (const said of parts) {
    const silent = MemifSocket.connect(sys, options().path) as MemifSocket;
    turns(1, s);
    for (const [bytes, fd] of said) silent.send(bytes, fd);
    const c = client();
    turns(28, s, c);
    assert.is(c.device.up, false);
    turns(20, s, c);
    assert.ok(c.device.up && s.device.up, `after ${said.length} messages`);
    const heard: unknown[] = [];
    for (let got = silent.receive(); typeof got === 'object'; got = silent.receive()) heard.push(got.bytes);
    assert.is(m.readDisconnect(heard.at(-1) as Uint8Array), 'Not connected within 3 s');
    assert.is(silent.receive(), GONE);
    silent.close();
    c.device.close();
    turns(2, s);
  }
  assert.is(s.device.notice, '', 'nobody is refused at the end');
  const silent = MemifSocket.connect(sys, options().path) as MemifSocket;
  turns(31, s);
  assert.is(s.device.notice, 'a client was refused: Not connected within 3 s');
  silent.close();
  done(s);
});

test('a server takes the place of a dead one, and of nobody and nothing else', async () => {
  const { path } = options();
  const listens = (): Device => server().device;
  MemifSocket.listen(syscalls(), path).close();
  listens().close();
  writeFileSync(path, 'precious');
  assert.throws(listens, /cannot listen there \(EADDRINUSE\)/);
  assert.is(readFileSync(path, 'utf8'), 'precious');
  rmSync(path);
  const stream = createServer();
  await new Promise<void>((resolve) => void stream.listen(path, resolve));
  assert.throws(listens, /EADDRINUSE/);
  assert.ok(existsSync(path), 'a socket of another kind');
  await new Promise((resolve) => void stream.close(resolve));
  // A server that does not get round to its clients: nobody else can queue up there.
  const sys = syscalls();
  const busy = MemifSocket.listen(sys, path);
  const queue: MemifSocket[] = [];
  for (let next = MemifSocket.connect(sys, path); next instanceof MemifSocket; ) {
    queue.push(next);
    next = MemifSocket.connect(sys, path);
  }
  assert.throws(listens, /EADDRINUSE/);
  assert.ok(existsSync(path), 'a busy server');
  for (const socket of [...queue, busy]) socket.close();
  rmSync(path);
});

test('a client that is connected may be silent', () => {
  const s = server();
  const c = client();
  turns(100, c, s);
  assert.ok(c.device.up && s.device.up);
  assert.ok(pass(c, s, 1) !== null);
  done(c, s);
});

test('less or more than a message ends the connection, and the server says so', () => {
  const s = server();
  const sys = syscalls();
  const { path } = options();
  for (const bytes of [1, 127, 129, 4096]) {
    const socket = MemifSocket.connect(sys, path) as MemifSocket;
    turns(1, s);
    const words = new Uint8Array(bytes).fill(1);
    assert.is(sys.write(socket.fd, sys.addressOf(words), bytes), bytes);
    turns(1, s);
    assert.is(s.device.notice, 'a client was refused: Not a message', `${bytes} bytes`);
    socket.close();
    const c = client();
    turns(20, c, s);
    assert.is(s.device.notice, '');
    assert.ok(pass(c, s, bytes) !== null, `after ${bytes} bytes`);
    c.device.close();
    turns(2, s);
  }
  done(s);
});

test('whatever bytes a client says, in whatever pieces, the next one is served', () => {
  const s = server();
  const sys = syscalls();
  const { path } = options();
  const random = new SeededRandom(7);
  for (let round = 0; round < 200; round++) {
    const socket = MemifSocket.connect(sys, path) as MemifSocket;
    turns(1, s);
    if (round % 2 === 0) socket.send(...greeting);
    for (let i = 0; i < 8; i++) {
      const words = Uint8Array.from({ length: 128 }, () => random.next());
      // Mostly of a type that there is.
      words.set([(random.next() >>> 8) % 10, 0]);
      socket.send(words);
      turns(1, s);
    }
    assert.is(s.device.up, false);
    socket.close();
    turns(2, s);
  }
  const c = client();
  turns(20, c, s);
  assert.ok(pass(c, s, 7) !== null);
  done(c, s);
});

test('a client whose server does not greet, or does not go on, says so and waits', () => {
  const sys = syscalls();
  const { path } = options();
  const listener = MemifSocket.listen(sys, path);
  const c = client();
  turns(20, c);
  const peer = listener.accept()!;
  assert.is(c.device.notice, '');
  turns(20, c);
  assert.match(c.device.notice, /does not greet/);
  peer.send(m.hello('x', HELLO));
  turns(2, c);
  assert.equal(m.readInit((peer.receive() as { bytes: Uint8Array }).bytes).secret, 'abc', 'it has waited');
  peer.close();
  turns(2, c);
  const next = listener.accept()!;
  next.send(m.hello('x', HELLO));
  turns(40, c);
  assert.match(c.device.notice, /does not go on/);
  sys.write(next.fd, sys.addressOf(new Uint8Array(3)), 3);
  turns(1, c);
  assert.match(c.device.notice, /no message of memif/);
  next.close();
  listener.close();
  done(c);
});

test('a region that may become shorter is refused, whatever kind of file it is', () => {
  const s = server();
  const file = join(folder, 'region');
  writeFileSync(file, new Uint8Array(8192));
  const fd = openSync(file, 'r+');
  assert.match(talk(s, greeting, [m.addRegion(0, 8192), fd]), /Region not sealed/);
  closeSync(fd);
  done(s);
});

test('a descriptor that comes with a message that wants none is closed', () => {
  const s = server();
  const sys = syscalls();
  const fd = sys.eventfd(0, 0);
  const before = readdirSync('/proc/self/fd').length;
  for (const message of [m.ack(), m.hello('x', HELLO), m.connect('x'), m.disconnect('x')])
    talk(s, greeting, [message, fd]);
  assert.is(readdirSync('/proc/self/fd').length, before);
  sys.close(fd);
  done(s);
});

test('a client that says much at once is heard a part at a time', () => {
  const s = server();
  const socket = MemifSocket.connect(syscalls(), options().path) as MemifSocket;
  for (let i = 0; i < 100; i++) assert.ok(socket.send(greeting[0]));
  const answers = (): number => {
    let n = 0;
    while (typeof socket.receive() === 'object') n++;
    return n;
  };
  turns(1, s);
  assert.is(answers(), 65, 'a greeting, and 64 answers');
  turns(1, s);
  assert.is(answers(), 36);
  socket.close();
  turns(2, s);
  done(s);
});

test('interrupts of a client that would have us wait are made not to', () => {
  const sys = syscalls();
  const s = server();
  const ctx = newContext();
  const handle = openMemif(options(), [sharePool(ctx.pool)])[0]!;
  for (const fd of handle.interrupts) sys.fcntl(fd, F_SETFL, 0);
  const c = { ctx, device: new MemifClient(ctx, handle) };
  turns(20, c, s);
  assert.ok(s.device.up);
  for (const fd of handle.interrupts) assert.ok((sys.fcntl(fd, F_GETFL, 0) & O_NONBLOCK) !== 0);
  done(c, s);
});

test('messages say what they were made of', () => {
  assert.equal(m.readHello(m.hello('x', HELLO)), HELLO);
  assert.equal(m.readInit(m.init('x', 2 ** 32 - 1, 'secret')), {
    version: 0x200,
    id: 2 ** 32 - 1,
    mode: 0,
    secret: 'secret',
  });
  const ring = { toServer: false, index: 2, region: 1, offset: 65536, log2: 10 };
  assert.equal(m.readRing(m.addRing(ring)), ring);
  assert.equal(m.readRegion(m.addRegion(1, 2 ** 33)), { index: 1, size: 2 ** 33 });
  assert.is(m.readDisconnect(m.disconnect('why not')), 'why not');
  assert.is(m.ack().length, 128);
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
