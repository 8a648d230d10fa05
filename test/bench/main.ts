/** `npm run bench`: figures of this machine, as a table or as JSON. Bundled before it runs, as the product is. */
import { cpus, totalmem } from 'node:os';
import { echo } from './echo.ts';
import { allocated, time } from './harness.ts';
import { bulk, PROFILES } from './tcp-memory.ts';

interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly note: string;
}

const rows: Row[] = [];
const add = (what: string, value: number, unit: string, note = ''): void => {
  rows.push({ what, value: Number(value.toPrecision(4)), unit, note });
};

const ping = time(echo(), 400_000);
add('ping answered, in memory', ping.median, 'ns', `best ${ping.best.toFixed(1)}`);
add('ping, heap', await allocated(echo(), 300_000), 'bytes/million');

for (const [name, wire] of Object.entries(PROFILES)) {
  const t = time(bulk(wire), wire.tso ? 2_000_000 : 300_000);
  add(`TCP stack to stack, ${name}`, (1448 * 8) / t.median, 'Gbit/s', 'sender, wire and receiver on one core');
  add(`TCP stack to stack, ${name}`, t.median, 'ns/segment', `best ${t.best.toFixed(1)}`);
  add(`TCP stack to stack, ${name}, heap`, await allocated(bulk(wire), 200_000), 'bytes/million');
}

const machine = { cpu: cpus()[0]?.model ?? '?', cores: cpus().length, memory: totalmem(), node: process.version };
if (process.argv.includes('--json')) console.log(JSON.stringify({ machine, rows }, null, 2));
else {
  console.log(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}\n`);
  const width = Math.max(...rows.map((r) => r.what.length));
  for (const r of rows)
    console.log(`${r.what.padEnd(width)}  ${String(r.value).padStart(9)} ${r.unit.padEnd(14)} ${r.note}`);
}
