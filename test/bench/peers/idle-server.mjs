/**
 * Echoes, and keeps every connection for as long as the other end does.
 *
 * Usage: node idle-server.mjs PORT
 */
import { createServer } from 'node:net';

const [port] = process.argv.slice(2);
const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => socket.write(data));
});
server.listen({ host: '0.0.0.0', port: Number(port), backlog: 4096 }, () => console.log('listens'));
