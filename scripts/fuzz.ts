/**
 * Fuzzes the whole input path for as many frames as wanted: `npm run fuzz -- --frames N --seed S [--target NAME]`. Each
 * target gets an equal share; see test/fuzz/campaign/. Ends with code 1 and what to repeat when something breaks.
 */
import { parseArgs } from 'node:util';
import { campaign } from '../test/fuzz/campaign/campaign.ts';
import { TARGETS } from '../test/fuzz/campaign/targets.ts';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string' },
  },
});
const frames = Number(values.frames);
const seed = Number(values.seed);
const names = values.target === undefined ? [...TARGETS.keys()] : [values.target];
const unknown = names.find((name) => !TARGETS.has(name));
if (unknown !== undefined || !Number.isInteger(frames) || frames < 1 || !Number.isInteger(seed)) {
  console.error(`fuzz --frames N --seed S [--target NAME]; targets: ${[...TARGETS.keys()].join(', ')}`);
  process.exit(2);
}

let total = 0;
let seconds = 0;
try {
  for (const name of names) {
    const outcome = campaign(name, seed, Math.ceil(frames / names.length));
    total += outcome.frames;
    seconds += outcome.seconds;
    const { frames: n, seconds: s, sent, drops } = outcome;
    console.log(`${name}: ${n} frames in ${s.toFixed(1)} s, ${sent} sent; drops of the last: ${drops}`);
  }
  console.log(`${total} frames in ${seconds.toFixed(1)} s, seed ${seed}: nothing broke`);
} catch (e) {
  console.error((e as Error).message);
  console.error((e as Error).cause);
  process.exitCode = 1;
}
