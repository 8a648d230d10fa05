#!/usr/bin/env node
/** Entry of the commands `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore`, by the name it is called by. */
import { basename } from 'node:path';

const major = Number(process.versions.node.split('.')[0]);
const name = basename(process.argv[1] ?? '', '.js');
if (major < 20) {
  console.error(`${name} needs Node.js 20 or newer; this is ${process.versions.node}`);
  process.exit(1);
}
import('./main.js').then((main) => main.ipvsadm(name, process.argv.slice(2)));
