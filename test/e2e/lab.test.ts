/**
 * The first thing a newcomer runs: `scripts/lab.sh`, as root and without root, with everything it leaves behind,
 * which must be nothing.
 */
import { spawn } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { asNobody, environment, newLab, type Ran, remains, run } from '../lib/lab.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const tools = noCommands('ip', 'ping', 'curl');
const check = testUnless(noNamespaces() ?? tools, test);
const checkAsRoot = testUnless(isRealRoot() ? (noNamespaces() ?? tools) : 'needs root to become somebody else', test);

function assertGreen({ code, output, stderr }: Ran): void {
  assert.is(code, 0, `${output}${stderr}`);
  for (const line of [
    /^ok +ping .*3 of 3/m,
    /^ok +curl .*rs-1 x \d+, rs-2 x \d+/m,
    /^ok +10 MB .*SHA-256/m,
    /^ok +SIGTERM/m,
  ]) {
    assert.match(output, line);
  }
}

check('check is green and leaves nothing behind', () => {
  const lab = newLab();
  assertGreen(run(lab, ['scripts/lab.sh', 'check']));
  assert.equal(remains(lab), []);
});

check('up stays, exec reaches each place, down removes it', () => {
  const lab = newLab();
  try {
    const up = run(lab, ['scripts/lab.sh', 'up']);
    assert.is(up.code, 0, up.output + up.stderr);
    const vip = /VIP ([0-9.]+)/.exec(up.output)?.[1] as string;
    assert.match(run(lab, ['scripts/lab.sh', 'exec', 'client', 'curl', '-s', `http://${vip}/`]).output, /^rs-[12]\n$/);
    assert.match(run(lab, ['scripts/lab.sh', 'exec', 'tsvs', 'ip', 'link']).output, 'tap0');
    assert.match(run(lab, ['scripts/lab.sh', 'exec', 'rs2', 'ip', 'addr']).output, '192.168.100.12');
    assert.is(run(lab, ['scripts/lab.sh', 'exec', 'client', 'sh', '-c', 'exit 7']).code, 7);
    assert.match(run(lab, ['scripts/lab.sh', 'up']).stderr, 'is up already');
  } finally {
    assert.is(run(lab, ['scripts/lab.sh', 'down']).code, 0);
  }
  assert.equal(remains(lab), []);
  assert.is(run(lab, ['scripts/lab.sh', 'down']).code, 0, 'down has nothing to do the second time');
});

check('a check that is interrupted leaves nothing behind', async () => {
  const lab = newLab();
  const child = spawn('scripts/lab.sh', ['check'], {
    env: environment(lab),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.once('data', () => child.kill('SIGTERM'));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.is(code, 143);
  assert.equal(remains(lab), []);
});

checkAsRoot('check is green without root, where user namespaces are allowed', () => {
  const lab = newLab();
  assertGreen(run(lab, asNobody('0666', 'scripts/lab.sh check')));
  assert.equal(remains(lab), []);
});

checkAsRoot('without root, later commands find the lab that up has built', () => {
  const lab = newLab();
  const script = 'trap "scripts/lab.sh down" EXIT; scripts/lab.sh up && scripts/lab.sh exec rs1 ip -br addr';
  const { code, output, stderr } = run(lab, asNobody('0666', script));
  assert.is(code, 0, output + stderr);
  assert.match(output, '192.168.100.11/24');
  assert.equal(remains(lab), []);
});

checkAsRoot('without a TAP that may be opened, one line says what to do', () => {
  const lab = newLab();
  const { code, output, stderr } = run(lab, asNobody('0600', 'scripts/lab.sh check'));
  assert.is(code, 1);
  assert.is(output, '');
  assert.match(stderr, /^lab\.sh: \/dev\/net\/tun cannot be opened: .*chmod 0666.*\n$/);
  assert.equal(remains(lab), []);
});

test.run();
