#!/usr/bin/env node
/** Entry of the command `tsvs`: refuses a Node that is too old in one line, then loads the program. */
const major = Number(process.versions.node.split('.')[0]);
if (major < 20) {
  console.error(`tsvs needs Node.js 20 or newer; this is ${process.versions.node}`);
  process.exit(1);
}
import('./main.js').then((main) => main.tsvs(process.argv));

export {};
