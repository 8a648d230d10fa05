/**
 * The labs of docs/labs: `scripts/lab.sh LAB check` builds each and asserts what its page says: which server answered, what
 * address it saw, which way the answers took. Several run at a time: they wait for programs to start, most of all.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { asNobody, newLab, type Ran, remains, run, runBeside } from '../lib/lab.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const missing = noNamespaces() ?? noCommands('ip', 'ping', 'curl', 'tcpdump', 'ab', 'dig', 'sysctl');
const check = testUnless(missing, test);
const checkAsRoot = testUnless(isRealRoot() ? missing : 'needs root to become somebody else', test);

const AT_A_TIME = 3;

/** What a check of each lab has to have said, besides `ok` in every line: what the lab is for. */
const OUTCOMES: Readonly<Record<string, readonly string[]>> = {
  fullnat: ['the servers see the local addresses of tsvs, not the client'],
  'fullnat-two-arms': ['the servers have no route but to their own network'],
  nat: ['the servers see the client itself'],
  dr: ['the SYN-ACK comes from the server', 'tsvs has seen the packets of the clients, and not one of the answers'],
  tunnel: ['the SYN comes in by the tunnel', 'the SYN-ACK goes out by eth0', 'tsvs has seen none of the answers'],
  snat: ['the world sees pc1 come from an address of the pool'],
  udp: ['questions from one port are a flow, which stays with its server'],
  persistence: ['three connections of one client, one server', 'two clients of one /26, one server'],
  'side-by-side': ['port 80, the proxy: connections of tsvs itself', 'port 81: only rs-2 answers'],
  drain: ['rs-1 has no open connection left', 'it gets connections again', 'ab: no failed request'],
};

function assertGreen({ code, output, stderr }: Ran, outcomes: readonly string[]): void {
  assert.is(code, 0, `${output}${stderr}`);
  // Where dist is older than its sources, the lab builds it first, and says so.
  const said = output.trimEnd().split('\n');
  const [title, ...lines] = said.filter((line) => !line.startsWith('setup: '));
  assert.match(title!, /^lab: /);
  for (const line of lines) assert.match(line, /^ok {4}\S/);
  for (const outcome of outcomes) assert.ok(lines.includes(`ok    ${outcome}`), `${outcome}: not in\n${output}`);
  assert.match(lines.at(-1)!, /^ok +SIGTERM: tsvs ended with 0/);
}

check('every lab keeps what its page promises, and leaves nothing behind', async () => {
  const waiting = Object.entries(OUTCOMES);
  const one = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [name, outcomes] = next;
      const lab = newLab();
      assertGreen(await runBeside(lab, ['scripts/lab.sh', name, 'check']), outcomes);
      assert.equal(remains(lab), []);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, one));
});

test('the list has every lab, and every lab a page that shows its words', () => {
  const { output } = run('unused', ['scripts/lab.sh', 'list']);
  const listed = output
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ +/)[0]!);
  assert.equal(listed, ['first', ...Object.keys(OUTCOMES).sort()]);
  for (const name of Object.keys(OUTCOMES)) {
    const page = readFileSync(`docs/labs/${name}.md`, 'utf8');
    assert.match(page, `scripts/lab.sh ${name}`);
    for (const outcome of OUTCOMES[name]!) assert.match(page, outcome);
  }
  for (const file of readdirSync('scripts/labs'))
    assert.match(output, new RegExp(`^${file.replace('.sh', '')} +\\S`, 'm'));
});

checkAsRoot('without root a lab does without tcpdump, and says so', () => {
  const lab = newLab();
  const { code, output, stderr } = run(lab, asNobody('0666', 'scripts/lab.sh dr check'));
  assert.is(code, 0, output + stderr);
  assert.match(output, 'skip  the SYN-ACK comes from the server: tcpdump refuses to run in a user namespace');
  assert.match(output, 'ok    tsvs has seen the packets of the clients, and not one of the answers');
  assert.equal(remains(lab), []);
});

test('what does not hold ends a tour with 1, and says what it was', () => {
  const script =
    'set -e; quiet=1; source scripts/lab/steps.sh; out=rs-2; holds first has "^rs-"; holds second is "$out" rs-1; holds third has .';
  const { status, stdout } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  assert.is(status, 1);
  assert.is(stdout, 'ok    first\n  | rs-2\nFAIL  second\n');
});

test('an unknown lab is answered by the usage', () => {
  const { code, stderr } = run('unused', ['scripts/lab.sh', 'fulnat', 'check']);
  assert.is(code, 2);
  assert.match(stderr, "no lab and no command is called 'fulnat'");
});

test.run();
