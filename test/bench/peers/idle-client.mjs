/**
 * Holds connections that have exchanged one message each, and are silent since.
 *
 * Usage: node idle-client.mjs ADDRESS PORT COUNT
 * Prints `opened N` when all are open and answered; then, on each SIGUSR2, has all exchange another one and prints
 * `answered N`. Prints `lost: REASON` for each connection that ends.
 */
import { connect } from 'node:net';

const [address, port, count] = process.argv.slice(2);
const AT_ONCE = 64;
const PING = Buffer.from('ping');
/** @type {import('node:net').Socket[]} */
const sockets = [];

/** One exchange: resolves with the first byte of the answer. @param {import('node:net').Socket} socket */
const exchange = (socket) =>
  new Promise((resolve) => {
    socket.once('data', resolve);
    socket.write(PING);
  });

async function openOne() {
  const socket = connect({ host: address, port: Number(port), noDelay: true });
  sockets.push(socket);
  socket.on('error', (error) => console.log(`lost: ${error.message}`));
  socket.on('end', () => console.log('lost: closed'));
  await exchange(socket);
}

/** Runs `job` for 0 to n - 1, some at a time. @param {number} n @param {(i: number) => Promise<unknown>} job */
async function all(n, job) {
  let next = 0;
  const lane = async () => {
    while (next < n) await job(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

process.on('SIGUSR2', async () => {
  await all(sockets.length, (i) => exchange(sockets[i]));
  console.log(`answered ${sockets.length}`);
});
await all(Number(count), openOne);
console.log(`opened ${sockets.length}`);
