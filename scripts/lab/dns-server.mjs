/**
 * A name server of the lab: UDP on the kernel's own stack. To any question it answers a TXT record that says who
 * answers and whom it sees asking (RFC 1035 §4.1, §3.3.14).
 *
 * Usage: node dns-server.mjs NAME ADDRESS PORT
 */
import { createSocket } from 'node:dgram';

const [name = 'rs', address = '0.0.0.0', port = '53'] = process.argv.slice(2);

const HEADER = 12;
const TYPE_TXT = 16;
const CLASS_IN = 1;

/** @param {Buffer} query @returns {number} where the first question ends, or 0 when there is none */
function endOfQuestion(query) {
  let at = HEADER;
  while (at < query.length && query[at] !== 0) at += 1 + (query[at] ?? 0);
  return at + 5 <= query.length ? at + 5 : 0;
}

const socket = createSocket('udp4', (query, { address: from, port: fromPort }) => {
  const end = endOfQuestion(query);
  if (end === 0) return;
  const text = Buffer.from(`${name} sees ${from}:${fromPort}`);
  const header = Buffer.from(query.subarray(0, HEADER));
  header.writeUInt16BE(0x8400 | (header.readUInt16BE(2) & 0x0100), 2); // an answer, authoritative
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 6);
  header.writeUInt32BE(0, 8);
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc000 | HEADER, 0); // the name that was asked for
  record.writeUInt16BE(TYPE_TXT, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt16BE(text.length + 1, 10);
  const answer = [header, query.subarray(HEADER, end), record, Buffer.from([text.length]), text];
  socket.send(Buffer.concat(answer), fromPort, from);
});

socket.bind({ address, port: Number(port) }, () => console.log(`${name} listens on ${address}:${port}`));
