/**
 * A TCP server on the kernel's stack that behaves as its client asks in the first line, well or badly. Program:
 * `talk-server.ts NAME PORT`; started by vip-net.ts.
 *
 * | first line  | what it does                                                                  |
 * | ----------- | ----------------------------------------------------------------------------- |
 * | name        | answers NAME, closes                                                          |
 * | hash        | reads to the end, then answers the number of bytes and their SHA-256, closes  |
 * | bytes N     | sends N bytes, closes its direction                                           |
 * | drip N MS   | sends N lines, one every MS milliseconds, closes                              |
 * | hold        | answers `held`; at the next line answers NAME and closes                      |
 * | early       | answers `too much` at once and closes its direction; swallows what still comes |
 * | reset N     | sends N bytes; resets at the next line                                        |
 */
import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pattern } from './pattern.ts';

const [name = 'talk', port = '7'] = process.argv.slice(2);

type Verb = (socket: Socket, rest: Buffer, args: number[]) => void;

const verbs: Readonly<Record<string, Verb>> = {
  name: (socket) => socket.end(`${name}\n`),
  hash(socket, rest) {
    const hash = createHash('sha256').update(rest);
    let count = rest.length;
    socket.on('data', (data: Buffer) => {
      hash.update(data);
      count += data.length;
    });
    socket.on('end', () => socket.end(`${count} ${hash.digest('hex')}\n`));
  },
  bytes: (socket, _rest, [count = 0]) => Readable.from(pattern(count)).pipe(socket),
  drip(socket, _rest, [count = 0, ms = 0]) {
    let left = count;
    const timer = setInterval(() => {
      socket.write(`${left} left\n`);
      if (--left === 0) socket.end();
    }, ms);
    socket.on('close', () => clearInterval(timer));
    socket.on('finish', () => clearInterval(timer));
  },
  hold(socket) {
    socket.write('held\n');
    socket.once('data', () => socket.end(`${name}\n`));
  },
  early(socket) {
    socket.end('too much\n');
    socket.resume();
  },
  reset(socket, _rest, [count = 0]) {
    for (const block of pattern(count)) socket.write(block);
    socket.once('data', () => socket.resetAndDestroy());
  },
};

createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  let head = Buffer.alloc(0);
  socket.on('error', () => {});
  const read = (data: Buffer): void => {
    head = Buffer.concat([head, data]);
    const end = head.indexOf('\n');
    if (end < 0) return;
    socket.off('data', read);
    const [verb = '', ...args] = head.subarray(0, end).toString().split(' ');
    const act = verbs[verb];
    if (act === undefined) socket.destroy();
    else act(socket, head.subarray(end + 1), args.map(Number));
  };
  socket.on('data', read);
}).listen({ host: '0.0.0.0', port: Number(port), backlog: 4096 }, () => console.log(`${name} listens on ${port}`));
