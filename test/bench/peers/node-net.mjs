/**
 * The yardstick in Node's own terms: a TCP proxy of a few lines over the kernel's sockets.
 *
 * Usage: node node-net.mjs ADDRESS SERVER[,SERVER...] PORT[:source]...
 * Each port is a service over the same port of the servers: in turn, or by the client's address.
 */
import { connect, createServer } from 'node:net';

const [address, list = '', ...services] = process.argv.slice(2);
const servers = list.split(',');

/** @param {string} text IPv4 address */
const hash = (text) => text.split('.').reduce((sum, part) => sum * 31 + Number(part), 0);

for (const service of services) {
  const [port, key] = service.split(':');
  let turn = 0;
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const pick = key === 'source' ? hash(client.remoteAddress ?? '') : turn++;
    const host = servers[pick % servers.length];
    const server = connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true });
    client.on('error', () => server.destroy());
    server.on('error', () => client.destroy());
    client.pipe(server);
    server.pipe(client);
  });
  listener.listen({ host: address, port: Number(port), backlog: 4096 }, () => console.log(`listens on ${port}`));
}

process.on('SIGTERM', () => process.exit(0));
