/**
 * The networks of the end-to-end tests: hosts reach one another, programs start and stop, nothing stays behind.
 */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Net, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const check = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl'), test);

const plan = {
  hosts: { client: { address: '10.9.0.1/24' }, rs1: { address: '10.9.0.11/24', mac: '02:00:00:00:09:11' } },
  taps: ['tap0'],
};

const namespaces = (prefix: string): string[] =>
  spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter((line) => line.startsWith(prefix));

check('hosts reach one another, and close removes them', async () => {
  const net = new Net(plan);
  try {
    assert.is(namespaces(net.prefix).length, 3);
    assert.is((await net.exec('client', ['ping', '-c', '1', '-W', '2', '10.9.0.11'])).code, 0);
    assert.match((await net.exec('client', ['ip', 'neigh'])).stdout, '02:00:00:00:09:11');
    assert.match((await net.exec(SWITCH, ['ip', '-br', 'link', 'show', 'master', 'br0'])).stdout, 'tap0');

    const server = await net.startRealServer('rs1', 'rs-1', 8000);
    await net.waitForPort('client', '10.9.0.11', 8000);
    assert.is((await net.exec('client', ['curl', '-s', 'http://10.9.0.11:8000/any'])).stdout, 'rs-1\n');
    const body = ['sh', '-c', 'curl -s http://10.9.0.11:8000/bytes/200001 | wc -c'];
    assert.is((await net.exec('client', body)).stdout.trim(), '200001');
    assert.is((await net.exec('client', ['sh', '-c', 'exit 3'])).code, 3);
    assert.is(await server.stop('SIGKILL'), null);
  } finally {
    await net.close();
  }
  assert.equal(namespaces(net.prefix), []);
});

check('a process that is ended half-way leaves nothing behind', () => {
  const script = `
    import { Net } from './test/lib/netns.ts';
    const net = new Net(${JSON.stringify(plan)});
    const daemon = await net.exec('rs1', ['sh', '-c', 'sleep 600 >/dev/null 2>&1 & echo $!']);
    console.log(net.prefix, daemon.stdout.trim());
    process.kill(process.pid, 'SIGTERM');
    setInterval(() => {}, 1000);
  `;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 });
  assert.is(status, 143, stderr);
  const [prefix, pid] = stdout.trim().split(' ') as [string, string];
  assert.match(prefix, /^tsvs\d+n1-$/);
  assert.equal(namespaces(prefix), []);
  assert.not.ok(/sleep/.test(spawnSync('cat', [`/proc/${pid}/cmdline`], { encoding: 'utf8' }).stdout));
});

test.run();
