/**
 * Servers that refuse, vanish or die cost their own sessions only; nginx and haproxy as servers and as the client.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../lib/http-load.ts';
import type { Running } from '../lib/netns.ts';
import { patternHash } from '../lib/pattern.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { serverAddress, VIP, VipNet } from '../lib/vip-net.ts';

const namespaces = noNamespaces();
const add = testUnless(namespaces ?? noCommands('ip', 'curl', 'ab'), test);
const addProxies = testUnless(namespaces ?? noCommands('ip', 'ab', 'nginx', 'haproxy'), test);

const url = `http://${VIP}/`;

let lab: VipNet | undefined;
let servers: Running[] = [];

/** A test in a network that all share, in which both servers run at first. */
function scene(name: string, body: (lab: VipNet) => Promise<void>): void {
  add(name, async () => {
    lab ??= await VipNet.start({ settings: ['connect_timeout = 300ms'] });
    if (servers.length === 0) servers = await lab.startHttp();
    await body(lab);
    await lab.quiet();
  });
}

/** How many of `count` requests, one after another, each server answered; '' for those that nobody did. */
async function answers(lab: VipNet, count: number): Promise<Record<string, number>> {
  const script = `for i in $(seq ${count}); do curl -s -m 5 ${url} || echo; done`;
  const names: Record<string, number> = {};
  for (const name of (await lab.shell(script)).split('\n')) names[name] = (names[name] ?? 0) + 1;
  return names;
}

const ab = async (lab: VipNet, requests: number): Promise<void> => {
  const { complete, failed, report } = await load(lab, { requests, concurrency: 32, url });
  assert.equal([complete, failed], [requests, 0], report);
};

scene('both servers answer in turn', async (lab) => {
  assert.equal(await answers(lab, 10), { 'rs-1': 5, 'rs-2': 5 });
});

scene('a server killed in the middle of transfers costs only its own', async (lab) => {
  const length = 60_000_000;
  // Four transfers that would last for seconds, two from each server.
  const transfer = `curl -s -m 20 --limit-rate 30M ${url}bytes/${length} | sha256sum | cut -d' ' -f1; echo \${PIPESTATUS[0]}`;
  const transfers = [1, 2, 3, 4].map(() => lab.client(['bash', '-c', transfer]));
  await pause(500);
  assert.is((await lab.stats()).sessions, 4);
  await servers[0]!.stop('SIGKILL');
  const next = await answers(lab, 10);
  const sums = (await Promise.all(transfers)).map(({ stdout }) => stdout.trim().split('\n'));
  const right = patternHash(length);
  assert.is(sums.filter(([sum, code]) => sum === right && code === '0').length, 2, JSON.stringify(sums));
  assert.is(sums.filter(([sum, code]) => sum !== right && code !== '0').length, 2, JSON.stringify(sums));
  assert.equal(next, { 'rs-2': 10 });
});

scene('a server that refuses: the other answers everything', async (lab) => {
  const { counters } = await lab.stats();
  await ab(lab, 1000);
  const after = (await lab.stats()).counters;
  assert.ok(after['proxy.retries']! - counters['proxy.retries']! >= 500);
  assert.match(lab.tsvs.output, /refused.*trying another/);
});

scene('a server that comes back is used again', async (lab) => {
  servers[0] = await lab.net.startRealServer('rs1', 'rs-1');
  assert.equal(await answers(lab, 10), { 'rs-1': 5, 'rs-2': 5 });
});

scene('a server behind a cut cable: connecting is given up, the other answers', async (lab) => {
  await lab.net.exec('rs1', ['ip', 'link', 'set', 'eth0', 'down']);
  const began = performance.now();
  assert.equal(await answers(lab, 6), { 'rs-2': 6 });
  const tookMs = performance.now() - began;
  assert.ok(tookMs > 300 && tookMs < 6000, `${tookMs} ms`);
  await ab(lab, 200);
  assert.match(lab.tsvs.output, /(did not answer|is unreachable).*trying another/);

  await lab.net.exec('rs1', ['ip', 'link', 'set', 'eth0', 'up']);
  await pause(1500);
  assert.equal(await answers(lab, 10), { 'rs-1': 5, 'rs-2': 5 });
});

scene('nobody listens: the client is told at once, and tsvs lives on', async (lab) => {
  await Promise.all(servers.map((server) => server.stop('SIGKILL')));
  const began = performance.now();
  const { code } = await lab.client(['curl', '-s', '-m', '5', url]);
  // 7: the reset came before curl had looked whether the connection was made.
  assert.ok([7, 52, 56].includes(code!), `curl ended with ${code}`);
  assert.ok(performance.now() - began < 2000);
  servers = await lab.startHttp();
  assert.equal(await answers(lab, 10), { 'rs-1': 5, 'rs-2': 5 });
});

add('tsvs leaves in order, every frame accounted for', async () => {
  await lab!.close();
});

const HAPROXY = `
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend web
  bind :80
`;

/** One process that stays who it is: in a user namespace there is nobody else to become. */
const nginxConf = (folder: string): string => `
user root; daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr;
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 80 backlog=4096; location / { return 200 "name\\n"; } }
}
`;

addProxies('nginx and haproxy behind, haproxy in front', async () => {
  const lab = await VipNet.start({ others: ['edge'] });
  try {
    const start = (place: string, text: string, words: (file: string) => string[]): Running => {
      const file = join(lab.folder, `${place}.conf`);
      writeFileSync(file, text);
      return lab.net.start(place, words(file));
    };
    const haproxy = (file: string): string[] => ['haproxy', '-db', '-f', file];
    start('rs1', nginxConf(lab.folder), (file) => ['nginx', '-c', file, '-p', lab.folder]);
    start('rs2', `${HAPROXY}  http-request return status 200 content-type text/plain string "name\\n"\n`, haproxy);
    const back = `  default_backend vip\nbackend vip\n  server vip ${VIP}:80\n`;
    const edge = start('edge', `${HAPROXY}${back}`, haproxy);
    for (const address of [serverAddress(1), serverAddress(2), '10.9.0.100']) {
      await lab.net.waitForPort('client', address, 80);
    }

    for (const [what, address, keepAlive] of [
      ['nginx and haproxy behind', VIP, false],
      ['nginx and haproxy behind, kept connections', VIP, true],
      ['haproxy in front', '10.9.0.100', false],
      ['haproxy in front, kept connections', '10.9.0.100', true],
    ] as const) {
      const all = { requests: 5000, concurrency: 64, keepAlive, url: `http://${address}/` };
      const { complete, failed, perSecond, report } = await load(lab, all);
      assert.equal([complete, failed], [5000, 0], report);
      console.log(`${what}: ${perSecond} requests per s`);
    }
    // It keeps connections for later requests, and tsvs would wait for them.
    await edge.stop();
    const [web] = (await lab.stats()).services;
    for (const server of web!.servers) assert.ok(server.conns > 1000, `${server.name}: ${server.conns} connections`);
  } finally {
    await lab.close();
  }
});

test.after(() => lab?.net.remove());

test.run();
