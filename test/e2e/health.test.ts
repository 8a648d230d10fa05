/**
 * Health checks against nginx, stopped and started under load; PROXY protocol to it; the access log and its rotation. All
 * with kernels, a TAP and real time.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Running } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { serverAddress, VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'curl', 'nginx'), test);

/** Answers with its name and whom it takes for the client; its process stays who it is, as in a user namespace it must. */
const nginxConf = (folder: string, name: string, proxied: boolean): string => `
user root; daemon off; master_process off; pid ${folder}/${name}.pid; error_log stderr;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server {
    listen 80${proxied ? ' proxy_protocol' : ''};
    listen 8080;
    location /health { return 200 "all fine\\n"; }
    location / { return 200 "${name} ${proxied ? '$proxy_protocol_addr:$proxy_protocol_server_port' : ''}\\n"; }
  }
}
`;

async function startNginx(lab: VipNet, i: number, proxied = false): Promise<Running> {
  const file = join(lab.folder, `rs${i}.conf`);
  writeFileSync(file, nginxConf(lab.folder, `rs-${i}`, proxied));
  const nginx = lab.net.start(`rs${i}`, ['nginx', '-c', file, '-p', lab.folder]);
  await lab.net.waitForPort('client', serverAddress(i), 8080);
  return nginx;
}

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (await done()) return;
    await pause(50);
  }
  throw new Error(`not within 5 s: ${what}`);
}

const CHECKS = [
  ...['check = http', 'check_path = /health', 'check_body = all fine', 'check_port = 8080'],
  ...['check_interval = 200ms', 'check_timeout = 150ms', 'rise = 2', 'fall = 2'],
];

const ask = (lab: VipNet, n: number): Promise<string> =>
  lab.shell(`for i in $(seq ${n}); do curl -s -m 5 http://${VIP}/; done`);

add('nginx stopped and started: taken out and put back, no request is lost meanwhile', async () => {
  const lab = await VipNet.start({ settings: CHECKS });
  try {
    const first = await startNginx(lab, 1);
    await startNginx(lab, 2);
    const state = async (): Promise<string[]> => (await lab.stats()).services[0]!.servers.map((server) => server.state);
    await until('both up', async () => (await state()).join() === 'up,up' && (await lab.counter('health.passed')) > 6);
    await first.stop();
    await until('one down', async () => (await state()).join() === 'down,up');
    const { counters } = await lab.stats();
    assert.equal(new Set((await ask(lab, 20)).split('\n').map((line) => line.trim())), new Set(['rs-2']));
    assert.is(await lab.counter('proxy.connectFailures'), counters['proxy.connectFailures'], 'it was not even tried');
    await startNginx(lab, 1);
    await until('up again', async () => (await state()).join() === 'up,up');
    const names = (await ask(lab, 10)).split('\n').map((line) => line.trim());
    assert.equal(new Set(names), new Set(['rs-1', 'rs-2']));
    const [server] = (await lab.stats()).services[0]!.servers;
    assert.is(server!.health!.lastCheck, 'passed 200');
    assert.match(lab.tsvs.output, /10\.9\.0\.11:80 of web is down: it gets no new connections \(last check: refused\)/);
    assert.match(lab.tsvs.output, /10\.9\.0\.11:80 of web is up again \(last check: passed 200\)/);
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

for (const version of ['v1', 'v2']) {
  add(`nginx believes what PROXY ${version} says, and the access log has a line for each session`, async () => {
    const lab = await VipNet.start({
      settings: [`proxy_protocol = ${version}`],
      global: ['access_log = FOLDER/access.log'],
    });
    const path = join(lab.folder, 'access.log');
    const lines = (file: string): Record<string, unknown>[] =>
      readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    try {
      await startNginx(lab, 1, true);
      await startNginx(lab, 2, true);
      const began = Date.now();
      assert.equal([...new Set((await ask(lab, 6)).split('\n'))].sort(), ['rs-1 10.9.0.1:80', 'rs-2 10.9.0.1:80']);
      await until('six lines', async () => lines(path).length === 6);
      for (const line of lines(path)) {
        assert.match(String(line['client']), /^10\.9\.0\.1:\d+$/);
        assert.match(String(line['server']), /^10\.9\.0\.1[12]:80$/);
        assert.equal([line['service'], line['vip'], line['end'], line['retries']], ['web', `${VIP}:80`, 'normal', 0]);
        assert.ok(Math.abs(Date.parse(String(line['time'])) - began) < 10_000, `${line['time']}`);
        assert.ok(Number(line['toServer']) > 60 && Number(line['toClient']) > 100);
      }
      renameSync(path, `${path}.1`);
      lab.tsvs.child.kill('SIGUSR1');
      await until('a new file', async () => {
        await ask(lab, 1);
        try {
          return lines(path).length > 0;
        } catch {
          return false;
        }
      });
      assert.ok(lines(`${path}.1`).length >= 6);
      await lab.quiet();
    } finally {
      await lab.close();
    }
  });
}

test.run();
