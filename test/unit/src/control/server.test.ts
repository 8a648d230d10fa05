/** The control socket: what it answers over a real unix socket, and how it gets and leaves its file. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PATHS, type SessionsReply } from '../../../../src/control/api.ts';
import { AskError, ask } from '../../../../src/control/client.ts';
import type { RunningConfig } from '../../../../src/control/running-config.ts';
import { answer, ControlServer } from '../../../../src/control/server.ts';
import type { Snapshot } from '../../../../src/control/snapshot.ts';
import { ControlSocketError, claimSocket, defaultSocket } from '../../../../src/control/socket.ts';
import { fabricate } from './memory.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-control-'));
let count = 0;
const newPath = (): string => join(folder, `${++count}.sock`);

/** Runs `body` with a server that answers. */
async function served(body: (path: string) => Promise<void>): Promise<void> {
  const control = await ControlServer.open(newPath());
  try {
    control.serve(fabricate().snapshot);
    await body(control.path);
  } finally {
    control.close();
  }
}

async function refusal(path: string): Promise<string> {
  try {
    (await ControlServer.open(path)).close();
  } catch (error) {
    assert.instance(error, ControlSocketError);
    return (error as Error).message;
  }
  return 'opened';
}

const NO_FILES = `/proc/self/${'x'.repeat(100)}`;

test('an unknown path is answered with the paths there are', () => {
  const paths = [
    ...['/v1/stats', '/v1/sessions', '/v1/drops', '/v1/neigh'],
    ...['/v1/services', '/v1/config', '/v1/reload', '/v1/conns', '/v1/timeouts', '/v1/zero', '/v1/ipvs'],
    ...['/v1/links', '/v1/addresses', '/v1/routes', '/v1/ports', '/v1/why', '/v1/capture'],
  ];
  for (const url of ['/', '/v2/stats', '/v1/stats/', '/toString', '/__proto__']) {
    assert.equal(answer('GET', url, null), {
      status: 404,
      body: { code: 'NOT_FOUND', error: `there is no ${url}`, paths },
    });
  }
});

test('a query string is no part of the path', () => {
  assert.is(answer('GET', '/v1/drops?pretty', fabricate().snapshot).status, 200);
});

test('only reading is allowed', () => {
  const { status, allow } = answer('POST', PATHS.stats, fabricate().snapshot);
  assert.equal({ status, allow }, { status: 405, allow: 'GET, HEAD' });
});

test('before the worker serves, the answer is 503', () => {
  assert.is(answer('GET', PATHS.stats, null).status, 503);
});

test('a handler that throws costs its request only', () => {
  const broken = {
    stats() {
      throw new Error('broken');
    },
  } as unknown as Snapshot;
  assert.equal(answer('GET', PATHS.stats, broken), { status: 500, body: { code: 'INTERNAL', error: 'Error: broken' } });
});

test('every path that is read answers JSON over the socket', () =>
  served(async (path) => {
    const { stats, sessions: open, drops, neigh, services, conns } = PATHS;
    for (const url of [stats, open, drops, neigh, services, conns]) assert.type(await ask(path, url), 'object');
    const { sessions } = await ask<SessionsReply>(path, PATHS.sessions);
    assert.is(sessions[0]?.service, 'web');
  }));

test('a HEAD request gets the headers', () =>
  served(async (path) => {
    const { headers, body } = await new Promise<{ headers: object; body: string }>((resolve) => {
      request({ socketPath: path, path: PATHS.drops, method: 'HEAD', agent: false }, (response) => {
        let text = '';
        response.on('data', (piece) => (text += piece));
        response.on('end', () => resolve({ headers: response.headers, body: text }));
      }).end();
    });
    assert.is((headers as Record<string, string>)['content-type'], 'application/json');
    assert.is(body, '');
  }));

test('a request that breaks off changes nothing', async () => {
  const control = await ControlServer.open(newPath());
  const { snapshot } = fabricate();
  let reloads = 0;
  const running = { reload: () => Promise.resolve(++reloads) } as unknown as RunningConfig;
  control.serve(snapshot, running);
  const post = (length: number): Promise<void> =>
    new Promise((resolve) => {
      const socket = createConnection(control.path);
      socket.on('close', () => resolve());
      socket.on('data', () => socket.destroy());
      socket.write(`POST ${PATHS.reload} HTTP/1.1\r\nHost: tsvs\r\nContent-Length: ${length}\r\n\r\n`);
      if (length > 0) setTimeout(() => socket.destroy(), 50);
    });
  try {
    await post(0);
    assert.is(reloads, 1);
    await post(20);
    await ask(control.path, PATHS.stats);
    assert.is(reloads, 1);
  } finally {
    control.close();
  }
});

test('an error reply becomes an AskError with its text', () =>
  served(async (path) => {
    try {
      await ask(path, '/v1/nothing');
      assert.unreachable();
    } catch (error) {
      assert.instance(error, AskError);
      assert.match((error as AskError).message, '404: there is no /v1/nothing');
    }
  }));

test('nobody at the socket: not running', async () => {
  const stale = newPath();
  leaveStale(stale);
  for (const path of [join(folder, 'none.sock'), stale]) {
    try {
      await ask(path, PATHS.stats);
      assert.unreachable();
    } catch (error) {
      assert.is((error as AskError).code, 'NOT_RUNNING');
      assert.match((error as AskError).message, path);
    }
  }
});

test('what is not tsvs is not believed', async () => {
  const path = newPath();
  const other = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'));
  await new Promise<void>((resolve) => other.listen(path, resolve));
  try {
    await ask(path, PATHS.stats);
    assert.unreachable();
  } catch (error) {
    assert.is((error as AskError).code, 'REFUSED');
  } finally {
    other.close();
  }
});

test('the file is for owner and group, and goes with the server', async () => {
  const control = await ControlServer.open(newPath());
  assert.is(statSync(control.path).mode & 0o777, 0o660);
  control.close();
  assert.not.ok(existsSync(control.path));
});

test('a live server is not pushed aside', async () => {
  const control = await ControlServer.open(newPath());
  assert.match(await refusal(control.path), /another tsvs answers there.*--control/);
  assert.ok(existsSync(control.path));
  control.close();
});

/** The socket file of a process that was killed. */
function leaveStale(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(existsSync(path));
}

test('the file of a dead process is replaced', async () => {
  const path = newPath();
  leaveStale(path);
  const control = await ControlServer.open(path);
  control.serve(fabricate().snapshot);
  assert.type(await ask(path, PATHS.stats), 'object');
  control.close();
});

test('a file that is no socket stays', async () => {
  const path = newPath();
  writeFileSync(path, 'precious');
  assert.match(await refusal(path), 'no socket');
  assert.ok(existsSync(path));
});

test('what removes the file at the end leaves that of a successor alone', async () => {
  const path = newPath();
  const [first, second] = [createServer(), createServer()];
  const removeFirst = await claimSocket(first, path);
  rmSync(path);
  const removeSecond = await claimSocket(second, path);
  removeFirst();
  assert.ok(existsSync(path));
  removeSecond();
  assert.not.ok(existsSync(path));
  first.close();
  second.close();
});

test('paths that cannot be are explained', async () => {
  assert.match(await refusal(join(folder, 'missing', 'x.sock')), /there is no directory .*missing: make it/);
  assert.match(await refusal(NO_FILES), 'longer than 107 bytes');
  if (process.getuid?.() === 0) return; // who may do anything
  chmodSync(folder, 0o500);
  assert.match(await refusal(newPath()), 'no permission');
  chmodSync(folder, 0o700);
});

test('the default path depends on who asks', () => {
  assert.is(defaultSocket({}, 0), '/run/tsvs.sock');
  assert.is(defaultSocket({ XDG_RUNTIME_DIR: '/run/user/7' }, 7), '/run/user/7/tsvs.sock');
  assert.is(defaultSocket({}, 7), join(tmpdir(), 'tsvs-7.sock'));
});

test.after(() => rmSync(folder, { recursive: true }));

test.run();
