/** The access log: from records in a ring to lines in a file, across a rotation. */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RELAYING, SessionTable } from '../../../../lb/l7/session.ts';
import { LOG_RING, NO_SERVER, NORMAL, SessionLog, SessionLogReader } from '../../../../lb/l7/session-log.ts';
import { AccessLog, type LineSink, openLines } from '../../../../src/log/access-log.ts';
import { SpscRing } from '../../../../stack/mem/spsc-ring.ts';
import { ip } from '../../../lib/sim.ts';

const names = { serviceName: (id: number) => `service ${id}` };

function rig(sink: LineSink): { log: AccessLog; end(bytes: number, why?: number, durationMs?: number): void } {
  const memory = new SharedArrayBuffer(SpscRing.bytes(LOG_RING));
  const worker = new SessionLog(SpscRing.create(memory, 0, LOG_RING));
  worker.epochMs = Date.UTC(2030, 0, 1);
  const sessions = SessionTable.own(SessionTable.memory(4));
  const log = new AccessLog(sink);
  log.read(0, new SessionLogReader(SpscRing.attach(memory, 0)), names);
  return {
    log,
    end(bytes, why = NORMAL, durationMs = 2500) {
      const id = sessions.open(1, ip('10.0.0.1'), 40000, ip('10.0.0.10'), 80, 1000);
      if (why !== NO_SERVER) {
        sessions.tryServer(id, 2, ip('10.0.0.10'), 50000, ip('10.0.0.11'), 8000);
        sessions.setState(id, RELAYING);
      }
      sessions.toServer[id] = bytes;
      sessions.toClient[id] = 2 ** 40;
      worker.finished(sessions, id, 3_500_000, durationMs, why === NO_SERVER ? -1 : 12, 1, why);
      sessions.close(id);
    },
  };
}

test('a line has all of a session', () => {
  const written: string[] = [];
  const { log, end } = rig({ write: (text) => written.push(text), reopen() {}, close() {} });
  end(700);
  end(0, NO_SERVER);
  assert.is(log.flush(), 2);
  assert.is(log.flush(), 0);
  assert.is(written.length, 1, 'one piece for all');
  const [first, second] = written[0]!
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(first, {
    ...{ time: '2030-01-01T00:00:03.500Z', service: 'service 1', client: '10.0.0.1:40000', vip: '10.0.0.10:80' },
    ...{ server: '10.0.0.11:8000', local: '10.0.0.10:50000', connectMs: 12, durationMs: 2500 },
    ...{ toServer: 700, toClient: 2 ** 40, retries: 1, end: 'normal' },
  });
  assert.equal([second.server, second.local, second.connectMs, second.end], [null, null, null, 'no_server']);
});

test('a session that took a month took a month', () => {
  const written: string[] = [];
  const { log, end } = rig({ write: (text) => written.push(text), reopen() {}, close() {} });
  end(1, NORMAL, 30 * 24 * 3600 * 1000);
  log.flush();
  assert.is(JSON.parse(written[0]!).durationMs, 2_592_000_000);
});

test('a file that is renamed keeps its lines, and later ones go to a new file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-log-'));
  const path = join(folder, 'access.log');
  const errors: Error[] = [];
  const { log, end } = rig(openLines(path, (error) => errors.push(error)));
  assert.ok(existsSync(path), 'it is there before the first line');
  const count = (file: string): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0);
  const until = async (done: () => boolean): Promise<void> => {
    for (let i = 0; i < 500 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(done());
  };
  end(1);
  end(2);
  log.flush();
  await until(() => count(path) === 2);
  renameSync(path, `${path}.1`);
  end(3);
  log.reopen();
  await until(() => existsSync(path));
  end(4);
  end(5);
  log.close();
  await until(() => count(path) + count(`${path}.1`) === 5);
  assert.ok(count(path) >= 2 && count(`${path}.1`) >= 2);
  assert.equal(errors, []);
  rmSync(folder, { recursive: true });
});

test('a file that cannot be opened is an error at once', () => {
  assert.throws(() => openLines('/nonexistent/access.log', () => {}), /ENOENT/);
});

test.run();
