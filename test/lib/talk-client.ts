/**
 * The other end of talk-server.ts: plays one scene against it and prints what it saw, as JSON. Program:
 * `talk-client.ts ADDRESS PORT SCENE ARGS`; started by vip-net.ts.
 */
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pattern, patternHash } from './pattern.ts';

const [address = '', port = '', scene = '', ...args] = process.argv.slice(2);

/** What came from the other side, until it closed or something went wrong. */
export interface Heard {
  bytes: number;
  sha256: string;
  /** The beginning, as text. */
  text: string;
  /** Code of the error that ended it, such as ECONNRESET; empty when it ended in good order. */
  error: string;
}

function open(line: string): Socket {
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true, noDelay: true });
  socket.write(`${line}\n`);
  return socket;
}

function listen(socket: Socket): Promise<Heard> {
  const hash = createHash('sha256');
  const heard: Heard = { bytes: 0, sha256: '', text: '', error: '' };
  socket.on('data', (data: Buffer) => {
    hash.update(data);
    heard.bytes += data.length;
    if (heard.text.length < 200) heard.text += data.toString('latin1').slice(0, 200);
  });
  return new Promise((resolve) => {
    const done = (): void => {
      heard.sha256 ||= hash.digest('hex');
      resolve(heard);
    };
    socket.on('error', (error: NodeJS.ErrnoException) => {
      heard.error = error.code ?? error.message;
      done();
    });
    socket.on('end', done);
  });
}

/** Resolves with the next line, or with '' when the connection ends before. */
function nextLine(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('data', (data: Buffer) => resolve(data.toString().trim()));
    socket.once('error', () => resolve(''));
    socket.once('close', () => resolve(''));
  });
}

const scenes: Readonly<Record<string, (...args: number[]) => Promise<unknown>>> = {
  /** Sends N bytes, shuts down its direction, reads the answer afterwards. */
  async upload(count = 0) {
    const socket = open('hash');
    const answer = listen(socket);
    Readable.from(pattern(count)).pipe(socket);
    const { text, error } = await answer;
    return { answer: text.trim(), right: `${count} ${patternHash(count)}`, error };
  },

  /** Asks for N bytes and shuts down its direction at once. */
  async download(count = 0) {
    const socket = open(`bytes ${count}`);
    socket.end();
    const heard = await listen(socket);
    return { ...heard, right: patternHash(count) };
  },

  /** Sends N bytes to a server that has had enough after the first line. */
  async early(count = 0) {
    const socket = open('early');
    const answer = listen(socket);
    const body = Readable.from(pattern(count));
    body.pipe(socket);
    const heard = await answer;
    body.unpipe(socket);
    socket.destroy();
    return heard;
  },

  /** Is reset by the server after it has received N bytes. */
  serverReset(count = 0) {
    const socket = open(`reset ${count}`);
    const heard = listen(socket);
    let missing = count;
    socket.on('data', (data: Buffer) => {
      missing -= data.length;
      if (missing === 0) socket.write('now\n');
    });
    return heard;
  },

  /** Resets in the middle of a large answer. */
  async clientReset(count = 0) {
    const socket = open(`bytes ${count}`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.resetAndDestroy();
    return {};
  },

  /** A server that takes its time. */
  async drip(count = 0, ms = 0) {
    const { text, error } = await listen(open(`drip ${count} ${ms}`));
    return { lines: text.trim().split('\n'), error };
  },

  /** N connections that do nothing for MS milliseconds, and are then all used. */
  async idle(count = 0, ms = 0) {
    const sockets = Array.from({ length: count }, () => open('hold'));
    for (const socket of sockets) socket.on('error', () => {});
    const held = (await Promise.all(sockets.map(nextLine))).filter((line) => line === 'held').length;
    await new Promise((resolve) => setTimeout(resolve, ms));
    const answers = sockets.map(nextLine);
    for (const socket of sockets) socket.write('go\n');
    const names: Record<string, number> = {};
    for (const name of await Promise.all(answers)) names[name] = (names[name] ?? 0) + 1;
    for (const socket of sockets) socket.end();
    return { held, names };
  },
};

const play = scenes[scene];
if (play === undefined) throw new Error(`no scene '${scene}'`);
console.log(JSON.stringify(await play(...args.map(Number))));
