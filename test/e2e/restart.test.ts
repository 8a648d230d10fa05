/**
 * A rolling restart: each server in turn is killed under load and started again. Sessions that break are those it had;
 * health checks take it out and put it back. Counted by server, from the access log.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { serverAddress, VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ab'), test);

/** More than the kernel of a killed server still sends by itself. */
const LENGTH = 500_000;
const CHECKS = [
  ...['check = http', 'check_interval = 300ms', 'check_timeout = 290ms', 'rise = 2', 'fall = 3'],
  'connect_timeout = 500ms',
];

interface Line {
  /** When it ended. */
  readonly time: string;
  readonly durationMs: number;
  readonly retries: number;
  readonly server: string | null;
  readonly end: string;
  readonly toClient: number;
  readonly service: string;
}

add('each server killed and started in turn under load: only its own sessions break', async () => {
  const lab = await VipNet.start({ settings: CHECKS, global: ['access_log = FOLDER/access.log'] });
  const states = async (): Promise<string> =>
    (await lab.stats()).services
      .find(({ name }) => name === 'web')!
      .servers.map(({ state }) => state)
      .join();
  const until = async (wanted: string): Promise<void> => {
    for (let i = 0; (await states()) !== wanted; i++) {
      if (i === 200) throw new Error(`servers are ${await states()} after 10 s, not ${wanted}`);
      await pause(50);
    }
  };
  /** Sessions of `web` finished so far. */
  const finished = (): Line[] =>
    readFileSync(join(lab.folder, 'access.log'), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line)
      .filter(({ service }) => service === 'web');
  const began = ({ time, durationMs }: Line): number => Date.parse(time) - durationMs;
  /** A server has answered somebody who came after `since`. */
  const served = async (server: string, since: number): Promise<void> => {
    const whole = (line: Line): boolean => line.server === server && began(line) > since && !isBroken(line);
    for (let i = 0; !finished().some(whole); i++) {
      if (i === 100) throw new Error(`${server} has served nobody for 10 s`);
      await pause(100);
    }
  };
  const isBroken = ({ end, toClient }: Line): boolean => end !== 'normal' || toClient < LENGTH;

  try {
    const servers = await lab.startHttp();
    await until('up,up');
    // -r: it goes on when a connection breaks; stopped when all is done.
    const load = lab.net.start('client', [
      'ab',
      '-q',
      '-r',
      '-s',
      '5',
      '-t',
      '60',
      '-n',
      '9999999',
      '-c',
      '16',
      `http://${VIP}/bytes/${LENGTH}`,
    ]);
    await pause(500);
    let seen = 0;
    let brokenInAll = 0;
    for (const i of [1, 2]) {
      const victim = `${serverAddress(i)}:80`;
      await servers[i - 1]!.stop('SIGKILL');
      await until(i === 1 ? 'down,up' : 'up,down');
      const down = Date.now();
      await pause(300);
      const started = Date.now();
      servers[i - 1] = await lab.net.startRealServer(`rs${i}`, `rs-${i}`);
      await until('up,up');
      const back = Date.now();
      await served(victim, back);
      const lines = finished().slice(seen);
      seen += lines.length;
      const broken = lines.filter(isBroken);
      const whole = lines.length - broken.length;
      const others = broken.filter(({ server }) => server !== victim);
      console.log(
        `${victim} restarted: ${whole} sessions whole, ${broken.length} of its own broken, ${others.length} others`,
      );
      assert.equal(others, []);
      const meanwhile = lines.filter((line) => began(line) > down && began(line) < started);
      assert.ok(meanwhile.length > 0);
      assert.equal(
        meanwhile.filter(({ retries }) => retries > 0),
        [],
        'nobody is sent there any more',
      );
      assert.ok(broken.length <= 32, `${broken.length} of 16 at a time were broken`);
      brokenInAll += broken.length;
      assert.ok(whole > 20, `${whole} whole`);
    }
    await load.stop('SIGINT');
    assert.ok(brokenInAll > 0, 'both were killed while nobody used them: nothing was shown');
    for (const i of [1, 2]) {
      assert.match(lab.tsvs.output, new RegExp(`${serverAddress(i)}:80 of web is down`));
      assert.match(lab.tsvs.output, new RegExp(`${serverAddress(i)}:80 of web is up again`));
    }
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

test.run();
