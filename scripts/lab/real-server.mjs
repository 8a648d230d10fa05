/**
 * A real server of the lab: HTTP on the kernel's own TCP. It answers its name on every path; on /from also whom it sees
 * asking; and on /bytes/N a body of N bytes that is the same from every server, so that a checksum through the balancer
 * can be compared.
 *
 * Usage: node real-server.mjs NAME ADDRESS PORT
 */
import { createServer } from 'node:http';
import { Readable } from 'node:stream';

const [name = 'rs', address = '0.0.0.0', port = '80'] = process.argv.slice(2);

// A prime length: no power-of-two slip of the bytes can go unnoticed.
const block = new Uint8Array(65521);
for (let i = 0, x = 1; i < block.length; i++) {
  x = (Math.imul(x, 1664525) + 1013904223) | 0;
  block[i] = x >>> 24;
}

/** @param {number} total bytes in all */
function* bytes(total) {
  for (let left = total; left > 0; left -= block.length) {
    yield left < block.length ? block.subarray(0, left) : block;
  }
}

const server = createServer((request, response) => {
  const total = /^\/bytes\/(\d{1,12})$/.exec(request.url ?? '')?.[1];
  if (total === undefined) {
    const { remoteAddress, remotePort } = request.socket;
    const body = request.url === '/from' ? `${name} sees ${remoteAddress}:${remotePort}\n` : `${name}\n`;
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length }).end(body);
    return;
  }
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': Number(total) });
  const body = Readable.from(request.method === 'HEAD' ? [] : bytes(Number(total)));
  response.on('close', () => body.destroy());
  body.pipe(response);
});

// A client that thinks for a while on a kept connection shall not find it closed.
server.keepAliveTimeout = 60_000;

server.listen({ host: address, port: Number(port), backlog: 4096 }, () => {
  console.log(`${name} listens on ${address}:${port}`);
});
