/**
 * `npm run soak`: the stack's TCP against the kernel's (test/soak). In a user namespace when the user is not root.
 * Exit codes: 0 nothing was wrong, 1 something was, 2 it cannot run here.
 */
import { spawnSync } from 'node:child_process';
import { namespaceWrapper, noCommands, noNamespaces } from '../test/lib/privilege.ts';
import { readOptions } from '../test/soak/options.ts';
import { soak } from '../test/soak/soak.ts';

const options = readOptions(process.argv.slice(2));
const [program, ...words] = namespaceWrapper();
if (program !== undefined) {
  const { status } = spawnSync(program, [...words, process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
  });
  process.exit(status ?? 1);
}
const missing = noNamespaces() ?? noCommands('ip', 'ss');
if (missing !== undefined) {
  console.error(`soak: ${missing}`);
  process.exit(2);
}
const { failure } = await soak(options, console.log);
if (failure !== null) console.error(`FAILED: ${failure}`);
process.exitCode = failure === null ? 0 : 1;
