/** Changes through the control socket: what is asked, what reaches the worker, and what is refused without a trace. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';
import { type ErrorReply, localPath, PATHS, serverPath } from '../../../../src/control/api.ts';
import { RunningConfig } from '../../../../src/control/running-config.ts';
import { answer, respond } from '../../../../src/control/server.ts';
import { UserSchedulers } from '../../../../src/schedulers/known.ts';
import type { Batch } from '../../../../src/workers/commands.ts';
import { COMMAND, DRAIN } from '../../../../src/workers/plan.ts';
import { WorkerGone } from '../../../../src/workers/spread.ts';
import { CONF, config, type Fabricated, fabricate } from './memory.ts';

interface Rig extends Fabricated {
  readonly running: RunningConfig;
  readonly batches: Batch[];
  readonly followed: Config[];
  readonly lines: string[];
  /** What is due after a time, and by now not cancelled. */
  readonly due: { ms: number; action: () => void }[];
  /** Files by name. */
  readonly files: Record<string, string>;
  /** Why the worker refuses the next batch. */
  refusal: string | Error | null;
  ask(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: ErrorReply & Record<string, unknown> }>;
}

/** A worker that takes whatever it gets. */
function rig(): Rig {
  const made = fabricate();
  const schedulers = new UserSchedulers();
  const line = (_fields: object, message: string): number => rig.lines.push(message);
  const rig: Rig = {
    ...made,
    ...{ batches: [], followed: [], lines: [], due: [], files: { 'lb.conf': CONF }, refusal: null },
    running: new RunningConfig(config(), {
      file: 'lb.conf',
      load: (file) => load(rig.files[file] ?? '', file),
      worker: {
        async apply(batch) {
          if (rig.refusal !== null) throw rig.refusal instanceof Error ? rig.refusal : new Error(rig.refusal);
          rig.batches.push(batch);
        },
      },
      layer4: false,
      schedulers: (next) => schedulers.added(next),
      log: { info: line, warn: line, error: line },
      follow: (next) => rig.followed.push(next),
      schedule: (ms, action) => {
        const entry = { ms, action };
        rig.due.push(entry);
        return () => void rig.due.splice(rig.due.indexOf(entry), 1);
      },
    }),
    async ask(method, path, body) {
      const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
      return (await respond(method, path, text, made.snapshot, rig.running)) as Awaited<ReturnType<Rig['ask']>>;
    },
  };
  return rig;
}

const SERVER1 = serverPath('web', 'server1');

/** Nothing reached the worker, nothing is different. */
function assertUntouched({ running, batches, followed }: Rig): void {
  assert.equal(batches, []);
  assert.equal(followed, []);
  assert.equal(running.config, config());
  assert.is(running.version, 1);
}

test('a weight: the worker gets it, the configuration has it, what is shown would reproduce it', async () => {
  const r = rig();
  const { status, body } = await r.ask('PUT', SERVER1, { weight: 7 });
  assert.is(status, 200);
  assert.is(body['name'], 'server1');
  assert.equal(
    r.batches.map(({ version, commands }) => [version, commands.map((one) => one.do)]),
    [[2, ['editServer']]],
  );
  assert.equal(r.lines, ['service web: server1 10.0.0.11:8000: weight 1 -> 7']);
  const shown = await r.ask('GET', PATHS.config);
  assert.is(shown.body['version'], 2);
  const again = load(shown.body['text'] as string, 'shown');
  assert.ok('model' in again);
  assert.equal({ ...again.model, global: config().global }, { ...r.running.config, global: config().global });
  assert.is(r.followed[0]!.services[0]!.dests[0]!.weight, 7);
});

test('the weight it has already is no change', async () => {
  const r = rig();
  assert.is((await r.ask('PUT', SERVER1, { weight: 1 })).status, 200);
  assertUntouched(r);
});

test('a state is no part of the configuration', async () => {
  const r = rig();
  assert.is((await r.ask('PUT', SERVER1, { state: 'drain' })).status, 200);
  assert.equal(r.running.config, config());
  assert.equal(r.followed, []);
  const [web] = config().services;
  const { name, ip, port } = web!.dests[0]!;
  const at = { name: 'web', proto: 'tcp', vip: web!.vip, port: 80 };
  assert.equal(r.batches[0]!.commands, [{ do: 'setState', at, server: { name, ip, port }, state: 'drain' }]);
  assert.equal(r.lines, ['service web: server1 drains: it gets no new connections']);
});

test('maintenance with a deadline: what is left is reset then, unless the server is wanted again', async () => {
  const r = rig();
  await r.ask('PUT', SERVER1, { state: 'maint', deadlineMs: 30_000 });
  assert.equal(
    r.due.map(({ ms }) => ms),
    [30_000],
  );
  await r.ask('PUT', SERVER1, { state: 'ready' });
  assert.equal(r.due, [], 'cancelled');
  await r.ask('PUT', SERVER1, { state: 'maint', deadlineMs: 0 });
  r.due[0]!.action();
  await r.running.setServer('web', 'server2', { state: 'drain' });
  assert.equal(
    r.batches.map(({ version, commands }) => `${version} ${commands.map((one) => one.do)}`),
    ['2 setState', '3 setState', '4 setState', '5 resetServer', '6 setState'],
  );
});

test('what is not understood is refused with what would be right', async () => {
  const r = rig();
  const bad: unknown[] = ['', '{', '[]', {}, { wieght: 1 }, { weight: -1 }, { weight: 65536 }, { weight: 1.5 }];
  bad.push({ weight: '1' }, { state: 'off' }, { state: 'drain', deadlineMs: 1 }, { deadlineMs: 5 }, 'null');
  for (const body of bad) {
    const { status, body: reply } = await r.ask('PUT', SERVER1, body);
    assert.is(status, 400, JSON.stringify(body));
    assert.match(reply.hint!, 'send {"weight": 0..65535}');
  }
  assert.is((await r.ask('POST', PATHS.reload, { path: 'x' })).status, 400);
  assertUntouched(r);
});

test('names that do not exist are told, with those that do', async () => {
  const r = rig();
  const wish = { weight: 2 };
  assert.equal(await r.ask('PUT', serverPath('wbe', 'server1'), wish), {
    status: 404,
    body: { code: 'NOT_FOUND', error: "no service is called 'wbe'", hint: "did you mean 'web'?" },
  });
  assert.is((await r.ask('PUT', serverPath('web', 'server9'), wish)).body.hint, "did you mean 'server1'?");
  assert.is((await r.ask('GET', serverPath('web', 'x'))).body.hint, 'server1, server2');
  assert.is((await r.ask('GET', '/v1/services/%ff')).status, 404);
  assertUntouched(r);
});

test('the last weight of a service stays: a file that takes it away would be refused too', async () => {
  const r = rig();
  await r.ask('PUT', SERVER1, { weight: 0 });
  const { status, body } = await r.ask('PUT', serverPath('web', 'server2'), { weight: 0 });
  assert.is(status, 409);
  assert.match(body.error, 'server2 is the last server of web with a weight');
  assert.match(body.hint!, 'drain it');
  assert.is(r.batches.length, 1);
});

test('reload: what is different goes to the worker, and is told in words', async () => {
  const r = rig();
  assert.equal((await r.ask('POST', PATHS.reload)).body, { version: 1, file: 'lb.conf', changes: [], warnings: [] });
  r.files['lb.conf'] = CONF.replace('10.0.0.12:8000:3', '10.0.0.12:8000:9');
  const changes = ['service web: server2 10.0.0.12:8000: weight 3 -> 9'];
  const { body } = await r.ask('POST', PATHS.reload);
  assert.equal(body, { version: 2, file: 'lb.conf', changes, warnings: [] });
  assert.equal(r.lines.slice(-2), [...changes, 'reloaded lb.conf: version 2 of the configuration']);
});

test('reload of another file, once', async () => {
  const r = rig();
  r.files['/tmp/other.conf'] = CONF.replace('ports = 80', 'ports = 80,81');
  await r.ask('POST', PATHS.reload, { file: '/tmp/other.conf' });
  assert.is(r.running.config.services.length, 2);
  await r.ask('POST', PATHS.reload);
  assert.equal(r.running.config, config(), 'the next one reads the first file again');
});

test('reload of a bad file: every mistake, and nothing has changed', async () => {
  const r = rig();
  r.files['lb.conf'] = CONF.replace('ports = 80', 'prots = 80').replace('10.0.0.12', '10.0.0.300');
  const { status, body } = await r.ask('POST', PATHS.reload);
  assert.is(status, 422);
  assert.is(body.errors!.length, 2, JSON.stringify(body));
  assert.match(body.errors!.join('\n'), /lb\.conf:12: \[service web\] prots: unknown key; did you mean 'ports'\?/);
  assert.equal(r.lines.slice(0, -1), body.errors);
  assert.match(r.lines.at(-1)!, 'the configuration stays as it was');
  assertUntouched(r);
});

test('reload that only a restart can do: the keys, and nothing of the rest has changed', async () => {
  const r = rig();
  r.files['lb.conf'] = CONF.replace('device = tap7', 'device = tap8').replace('8000:3', '8000:4');
  const { status, body } = await r.ask('POST', PATHS.reload);
  assert.is(status, 409);
  assert.equal(body.errors, ['[link lan] device = tap8 (now tap7): is fixed while tsvs runs: restart it']);
  assertUntouched(r);
});

test('a batch that the worker refuses has changed nothing', async () => {
  const r = rig();
  r.refusal = 'no room for more than 4096 servers';
  const { status, body } = await r.ask('PUT', SERVER1, { weight: 7 });
  assert.equal([status, body.error], [409, 'the worker refuses: no room for more than 4096 servers']);
  assertUntouched(r);
  r.refusal = null;
  assert.is((await r.ask('PUT', SERVER1, { weight: 7 })).status, 200);
  assert.is(r.batches[0]!.version, 2, 'the number was not used up');
});

test('a change that the worker died of has changed nothing', async () => {
  const r = rig();
  r.refusal = new WorkerGone();
  const { status, body } = await r.ask('PUT', SERVER1, { weight: 7 });
  const [error, hint] = ['the worker died of the change, twice', 'nothing has changed; the log says why it died'];
  assert.equal([status, body.code, body.error, body.hint], [503, 'NOT_READY', error, hint]);
  assertUntouched(r);
});

test('changes at the same time come one after the other', async () => {
  const r = rig();
  const weights = [5, 6, 7];
  await Promise.all(weights.map((weight) => r.ask('PUT', SERVER1, { weight })));
  assert.equal(
    r.batches.map(({ version }) => version),
    [2, 3, 4],
  );
  assert.equal(r.lines.at(-1), 'service web: server1 10.0.0.11:8000: weight 6 -> 7');
});

test('methods: what changes is not read, what is read is not changed', async () => {
  const r = rig();
  const allowed = async (method: string, path: string): Promise<unknown> => {
    const { status, allow } = (await r.ask(method, path)) as unknown as { status: number; allow: string };
    return [status, allow];
  };
  assert.equal(await allowed('GET', PATHS.reload), [405, 'POST']);
  assert.equal(await allowed('PATCH', SERVER1), [405, 'GET, HEAD, PUT, DELETE']);
  assert.equal(await allowed('POST', '/v1/services/web'), [405, 'GET, HEAD, PUT, PATCH, DELETE']);
  assert.equal(await allowed('POST', PATHS.config), [405, 'GET, HEAD, PUT']);
  assert.equal(await allowed('GET', localPath('web', '10.0.0.30')), [405, 'PUT, DELETE']);
});

test('a service and a server of it can be read alone', async () => {
  const r = rig();
  const [web] = r.snapshot.stats().services;
  assert.equal((await r.ask('GET', PATHS.services)).body, { services: [web] });
  assert.equal((await r.ask('GET', '/v1/services/web')).body, web);
  assert.equal((await r.ask('GET', SERVER1)).body, web!.servers[0]);
});

test('before it serves and while it stops, nothing can be changed', async () => {
  const r = rig();
  assert.is((await respond('POST', PATHS.reload, '', null, null)).status, 503);
  assert.is(answer('GET', PATHS.config, r.snapshot).status, 503);
  r.control[COMMAND] = DRAIN;
  const { status, body } = await r.ask('POST', PATHS.reload);
  assert.equal([status, body.error], [503, 'tsvs is stopping: nothing can be changed any more']);
});

test('a scheduler from a file that a reload names first goes to the worker with the change, once', async () => {
  const r = rig();
  const file = fileURLToPath(new URL('../../../../config/samples/my-scheduler.ts', import.meta.url));
  const named = CONF.replace('scheduler = rr', `scheduler = ${file}`);
  assert.is.not(named, CONF);
  const reload = async (text: string): Promise<number> => {
    r.files['lb.conf'] = text;
    return (await r.ask('POST', PATHS.reload)).status;
  };
  assert.equal([await reload(named), await reload(CONF), await reload(named)], [200, 200, 200]);
  assert.equal(
    r.batches.map(({ schedulers }) => schedulers?.map(({ name, code }) => [name, code === null])),
    [[[file, false]], undefined, undefined],
  );
});

test('a scheduler whose change the worker refuses goes with the next one', async () => {
  const r = rig();
  const file = join(mkdtempSync(join(tmpdir(), 'tsvs-scheduler-')), 'mine.ts');
  copyFileSync(new URL('../../../../config/samples/my-scheduler.ts', import.meta.url), file);
  r.files['lb.conf'] = CONF.replace('scheduler = rr', `scheduler = ${file}`);
  r.refusal = 'no';
  assert.is((await r.ask('POST', PATHS.reload)).status, 409);
  r.refusal = null;
  assert.is((await r.ask('POST', PATHS.reload)).status, 200);
  assert.equal(
    r.batches.map(({ schedulers }) => schedulers?.map(({ name }) => name)),
    [[file]],
  );
  rmSync(dirname(file), { recursive: true });
});

test('a scheduler from a file that is no good refuses the change, every time, and can be put right', async () => {
  const r = rig();
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-scheduler-'));
  const file = join(folder, 'mine.ts');
  try {
    writeFileSync(file, 'export default {}');
    r.files['lb.conf'] = CONF.replace('scheduler = rr', `scheduler = ${file}`);
    for (let i = 0; i < 2; i++) {
      const { status, body } = await r.ask('POST', PATHS.reload);
      assert.is(status, 422);
      assert.match(body.error, `scheduler ${file}: it exports no scheduler`);
      assertUntouched(r);
    }
    copyFileSync(new URL('../../../../config/samples/my-scheduler.ts', import.meta.url), file);
    assert.is((await r.ask('POST', PATHS.reload)).status, 200);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
