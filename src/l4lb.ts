#!/usr/bin/env node
/** Entry of the command `l4lb`, with the arguments F-Stack users type: l4lb -c fstack.ini --lb-config lb.conf. */
const major = Number(process.versions.node.split('.')[0]);
if (major < 20) {
  console.error(`l4lb needs Node.js 20 or newer; this is ${process.versions.node}`);
  process.exit(1);
}
import('./main.js').then((main) => main.l4lb(process.argv));

export {};
