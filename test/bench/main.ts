/**
 * `npm run bench`: figures of this machine, as tables or as one JSON document. Bundled before it runs, as the product
 * is. Exit code 1 when a workload of the lab gave wrong answers, 2 for a mistake on the command line.
 */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, version } from 'node:os';
import { crewRows } from './crew.ts';
import { type IdleResult, noIdle, printIdle, runIdle } from './idle.ts';
import { type LabResult, noLab, runLab } from './lab.ts';
import { labLines } from './lab-report.ts';
import { heapRows } from './link-heap-rows.ts';
import { type LinksResult, linkRows, noLinks } from './links.ts';
import { memifRows, noMemif } from './memif.ts';
import { memoryRows, printMemory } from './memory.ts';
import { readOptions } from './options.ts';

const options = readOptions(process.argv.slice(2));
const machine = {
  cpu: cpus()[0]?.model ?? '?',
  cores: cpus().length,
  memory: totalmem(),
  kernel: release(),
  system: version(),
  virtual: isVirtual(),
  node: process.version,
  /** When it begins; mean number of processes that ran or wanted to over the minute before. */
  date: new Date().toISOString(),
  load: loadavg()[0],
};
const missing = options.lab ? noLab() : 'not asked for';
const print = !options.json;

if (print) console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}\n`);
const memory = options.memory ? await memoryRows(options.scale, options.tasks) : [];
if (print && memory.length > 0) printMemory(memory);

const crew = options.workers ? await crewRows(options.scale, options.tasks) : [];
if (print && crew.length > 0) {
  console.log('');
  printMemory(crew);
}

const heap = options.heap ? await heapRows(options.scale, options.tasks) : [];
if (print && heap.length > 0) {
  console.log('');
  printMemory(heap);
}

const noTestpmd = noMemif();
const memif = options.memif && noTestpmd === undefined ? await memifRows(options.scale, 7, options.tasks) : [];
if (print && options.memif) {
  console.log('');
  if (noTestpmd === undefined) printMemory(memif);
  else console.log(`no memif: ${noTestpmd}`);
}

let links: LinksResult = { rows: [], runs: [] };
if (options.links) {
  const lacking = noLinks();
  if (lacking === undefined) links = await linkRows(options.scale, options.scale < 0.1 ? 1 : 5, options.tasks);
  if (print) console.log('');
  if (print && lacking === undefined) printMemory(links.rows);
  if (print && lacking !== undefined) console.log(`no links: ${lacking}`);
}

const nothing: LabResult = { conditions: { lab: missing }, rows: [], raw: [] };
const lab = missing === undefined ? await runLab(options, machine) : nothing;
const { conditions, raw } = lab;
if (print && options.lab) {
  console.log('');
  if (missing === undefined) {
    for (const line of labLines(lab.rows, raw)) console.log(line);
    for (const [name, value] of Object.entries(conditions))
      console.log(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  } else {
    console.log(`no lab: ${missing}`);
  }
}
let idle: IdleResult | null = null;
if (options.idle) {
  const lacking = noIdle();
  if (lacking === undefined) idle = await runIdle(options.sessions, options.scale);
  if (print) console.log('');
  if (print && idle !== null) printIdle(idle);
  if (print && lacking !== undefined) console.log(`no idle sessions: ${lacking}`);
}
if (options.json)
  console.log(
    JSON.stringify(
      {
        machine,
        conditions,
        rows: [...memory, ...crew, ...heap, ...memif, ...links.rows, ...lab.rows],
        raw,
        links: links.runs,
        idle,
      },
      null,
      2,
    ),
  );
if (idle !== null && (idle.lost.length > 0 || idle.answered !== options.sessions.at(-1))) process.exitCode = 1;
if (links.runs.some(({ unaccounted }) => unaccounted !== 0)) process.exitCode = 1;
if (raw.some((sample) => sample.errors.length > 0)) process.exitCode = 1;

/** A hypervisor says so in a flag of the processor (x86; others do not tell). */
function isVirtual(): boolean {
  try {
    return /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
  } catch {
    return false;
  }
}
