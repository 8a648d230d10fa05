/**
 * Changes to a running tsvs in a real network, under the load of a real client: files read again, servers drained,
 * weights. Not one request may fail. The program is the built one.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load as loadText } from '../../src/config/load.ts';
import type { ReloadReply, ServerStats, ServiceStats } from '../../src/control/api.ts';
import { load } from '../lib/http-load.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { HTTP, serverAddress, VIP, VipNet } from '../lib/vip-net.ts';

const inNetwork = testUnless(noNamespaces() ?? noCommands('ip', 'ab', 'curl'), test);

/** Opens a connection, has a request answered, then says so and stays; says what ends it. */
const HOLDER = `
  const s = require('node:net').connect(${HTTP}, '${VIP}', () => s.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'));
  s.once('data', () => console.log('answered'));
  s.on('error', (e) => console.log(e.code));`;

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A lab with the commands of tsvs, and its configuration as text. */
class Lab {
  readonly net: VipNet;
  readonly file: string;

  private constructor(net: VipNet) {
    this.net = net;
    this.file = join(net.folder, 'lb.conf');
  }

  static async run(servers: number, body: (lab: Lab) => Promise<void>): Promise<void> {
    const net = await VipNet.start({ servers });
    try {
      await net.startHttp();
      await body(new Lab(net));
    } finally {
      await net.close();
    }
  }

  tsvs(...words: string[]): Ran {
    const args = ['dist/bin.js', ...words, '--control', this.net.socket];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    return { code: status, stdout, stderr };
  }

  /** What a command prints that must go well. */
  ok(...words: string[]): string {
    const { code, stdout, stderr } = this.tsvs(...words);
    assert.is(code, 0, `${words}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Another web service: servers by number, with their weights, and further sections. */
  write(weights: Readonly<Record<number, number>>, more = ''): void {
    const rows = Object.entries(weights).map(
      ([i, weight], n) => `server${n + 1} = ${serverAddress(Number(i))}:${HTTP}:${weight}:00:00:00:00:00:00`,
    );
    const web = [
      '[service web]',
      `ip = ${VIP}`,
      `ports = ${HTTP}`,
      'scheduler = wrr',
      `count = ${rows.length}`,
      ...rows,
    ];
    const text = readFileSync(this.file, 'utf8');
    const others = text.slice(0, text.indexOf('[service web]'));
    writeFileSync(this.file, `${others}${web.join('\n')}\n${more}`);
  }

  async web(): Promise<ServiceStats> {
    const { services } = await this.net.stats();
    return services.find(({ name }) => name === 'web')!;
  }

  /** By address: names go by position. */
  async server(i: number): Promise<ServerStats | undefined> {
    return (await this.web()).servers.find(({ address }) => address === `${serverAddress(i)}:${HTTP}`);
  }

  /** Waits until `holds`; throws when it does not within ten seconds. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    for (const deadline = performance.now() + 10_000; !(await holds()); ) {
      if (performance.now() > deadline) throw new Error(`in vain: ${what}\n${this.net.tsvs.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Waits until a server has got `n` more connections. */
  async moves(i: number, n = 50): Promise<void> {
    const before = (await this.server(i))?.conns ?? 0;
    await this.until(`${n} connections for rs${i}`, async () => ((await this.server(i))?.conns ?? 0) >= before + n);
  }

  /** The connections a server got while another one got `n`. */
  async gets(i: number, while_: number, n = 100): Promise<number> {
    const before = (await this.server(i))?.conns ?? 0;
    await this.moves(while_, n);
    return ((await this.server(i))?.conns ?? 0) - before;
  }

  /** Requests without end, until `body` is through; then none of them may have failed. */
  async underLoad(body: () => Promise<void>): Promise<void> {
    const rounds: { complete: number; failed: number; report: string }[] = [];
    let through = false;
    const client = (async () => {
      while (!through) rounds.push(await load(this.net, { requests: 1000, concurrency: 8, url: `http://${VIP}/` }));
    })();
    try {
      await this.moves(1, 20);
      await body();
    } finally {
      through = true;
      await client;
    }
    for (const { complete, failed, report } of rounds) assert.equal([complete, failed], [1000, 0], report);
    const { connectFailures } = await this.web();
    assert.is(connectFailures, 0);
  }
}

test('nobody to change: exit code 5', () => {
  for (const words of [['reload'], ['config', 'show'], ['server', 'web/server1', 'drain']]) {
    const args = ['dist/bin.js', ...words, '--control', '/nowhere/tsvs.sock'];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.match(stderr, 'no tsvs is running at /nowhere/tsvs.sock');
    assert.is(status, 5);
  }
});

inNetwork('a scheduler from a file that a reload names first serves from then on', () =>
  Lab.run(2, async (lab) => {
    const mine = join(lab.net.folder, 'mine.ts');
    copyFileSync('config/samples/my-scheduler.ts', mine);
    lab.write({ 1: 1, 2: 1 });
    lab.ok('reload');
    const text = readFileSync(lab.file, 'utf8');
    writeFileSync(lab.file, text.replace('scheduler = wrr', 'scheduler = ./mine.ts'));
    assert.match(lab.ok('reload'), 'mine.ts');
    // The client's address decides: all go to one server.
    await load(lab.net, { requests: 20, concurrency: 1, url: `http://${VIP}/` });
    const conns = (await lab.web()).servers.map((one) => one.conns).sort((a, b) => a - b);
    assert.equal([conns[0]! < 20, conns[1]! >= 20], [true, true], `${conns}`);
    assert.is((await lab.net.stats()).counters['sched.fallbacks'], 0);
    writeFileSync(mine, 'export default {}');
    lab.ok('reload');
  }),
);

inNetwork(
  'SIGHUP under load: a server more, one less, a weight, a port more, one less: no failed request',
  async () => {
    await Lab.run(3, async (lab) => {
      lab.write({ 1: 1, 2: 1 });
      lab.ok('reload');
      const hangup = async (said: RegExp): Promise<void> => {
        lab.net.tsvs.child.kill('SIGHUP');
        await lab.net.tsvs.waitFor(said);
      };
      await lab.underLoad(async () => {
        assert.is(await lab.server(3), undefined);
        lab.write({ 1: 1, 2: 1, 3: 1 });
        await hangup(/"msg":"service web: server3 10\.9\.0\.13:80 added, weight 1"/);
        await lab.moves(3);

        lab.write({ 1: 5, 2: 1, 3: 1 });
        await hangup(/"msg":"service web: server1 10\.9\.0\.11:80: weight 1 -> 5"/);
        const share = await lab.gets(1, 3);
        assert.ok(share > 400 && share < 600, `5 to 1: ${share} to 100`);

        lab.write({ 1: 5, 3: 1 });
        await hangup(/"msg":"service web: server2 10\.9\.0\.12:80 removed: its sessions go on"/);
        await lab.until('rs2 is out of it', async () => (await lab.server(2)) === undefined);
        assert.is((await lab.web()).servers.length, 2);

        const more = `[service other]\nip = ${VIP}\nports = 8080\ncount = 1\nserver1 = 10.9.0.12:80:1:00:00:00:00:00:00\n`;
        lab.write({ 1: 5, 3: 1 }, more);
        await hangup(/"msg":"service other 10\.9\.0\.10:8080 added: proxy, conhash over 10\.9\.0\.12:80"/);
        assert.is(await lab.net.shell(`curl -s -m 5 http://${VIP}:8080/`), 'rs-2');

        lab.write({ 1: 5, 3: 1 });
        await hangup(/"msg":"service other 10\.9\.0\.10:8080 removed: its sessions go on"/);
        const { code } = await lab.net.client(['curl', '-s', '-m', '5', `http://${VIP}:8080/`]);
        assert.is(code, 7, 'refused');
      });
      const services = (await lab.net.stats()).services.map(({ name }) => name);
      assert.equal(services, ['web']);
    });
  },
);

inNetwork('a new VIP answers ping and requests at once; a removed one goes', async () => {
  await Lab.run(1, async (lab) => {
    const more =
      '[service second]\nip = 10.9.0.20\nports = 80\ncount = 1\nserver1 = 10.9.0.11:80:1:00:00:00:00:00:00\n';
    lab.write({ 1: 1 }, more);
    assert.match(lab.ok('reload'), /^VIP 10\.9\.0\.20 added$/m);
    await lab.net.shell('ping -c 1 -W 2 10.9.0.20');
    assert.is(await lab.net.shell('curl -s -m 5 http://10.9.0.20/'), 'rs-1');
    lab.write({ 1: 1 });
    lab.ok('reload');
    await lab.until(
      'no answer',
      async () => (await lab.net.client(['ping', '-c', '1', '-W', '1', '10.9.0.20'])).code !== 0,
    );
    await lab.net.shell(`ping -c 1 -W 2 ${VIP}`);
  });
});

inNetwork('a bad file under load: every mistake is told, exit code 2, and nothing changes', async () => {
  await Lab.run(2, async (lab) => {
    const before = lab.ok('config', 'show');
    await lab.underLoad(async () => {
      const good = readFileSync(lab.file, 'utf8');
      writeFileSync(
        lab.file,
        good.replace('scheduler = rr', 'schedular = rr').replace('10.9.0.11:80', '10.9.0.311:80'),
      );
      const { code, stdout, stderr } = lab.tsvs('reload');
      assert.equal([code, stdout], [2, '']);
      assert.match(stderr, /lb\.conf:\d+: \[service web\] schedular: unknown key; did you mean 'scheduler'\?/);
      assert.match(stderr, /'10\.9\.0\.311' is not an IPv4 address/);
      assert.match(stderr, /has errors: nothing has changed$/m);
      lab.net.tsvs.child.kill('SIGHUP');
      await lab.net.tsvs.waitFor(/SIGHUP: reading[\s\S]*"msg":"not reloaded: .*; the configuration stays as it was"/);

      // What could be changed alone is not, beside what cannot.
      const other = good
        .replace('device = tap0', 'device = tap0\nmtu = 1400')
        .replace('10.9.0.12:80:1', '10.9.0.12:80:2');
      writeFileSync(lab.file, other);
      const refused = lab.tsvs('reload');
      assert.is(refused.code, 2);
      assert.match(refused.stderr, /^\[link tap0\] mtu = 1400 \(now 1500\): is fixed while tsvs runs: restart it$/m);
    });
    assert.is(lab.ok('config', 'show'), before);
  });
});

inNetwork('config show prints a file that reproduces it', async () => {
  await Lab.run(2, async (lab) => {
    lab.ok('server', 'web/server2', 'weight', '3');
    const text = lab.ok('config', 'show');
    assert.match(text, 'server2 = 10.9.0.12:80:3:');
    assert.ok('model' in loadText(text, 'shown'));
    const shown = join(lab.net.folder, 'shown.conf');
    writeFileSync(shown, text);
    assert.match(lab.ok('reload', '--config', shown), /shown\.conf: nothing has changed/);
    const reply = JSON.parse(lab.ok('reload', '--json')) as ReloadReply;
    assert.equal(reply.changes, ['service web: server2 10.9.0.12:80: weight 3 -> 1']);
  });
});

inNetwork('a server is drained under load, stopped, started and taken back: no failed request', async () => {
  await Lab.run(2, async (lab) => {
    await lab.underLoad(async () => {
      assert.match(
        lab.ok('server', 'web/server2', 'drain'),
        /^web\/server2 10\.9\.0\.12:80: drain, weight 1, \d+ (active|conn)/,
      );
      await lab.until('it is empty', async () => {
        const { active, inactive } = (await lab.server(2))!;
        return active + inactive === 0;
      });
      assert.is(await lab.gets(2, 1), 0, 'connections while it drains');
      // A server that nobody has sessions with may go.
      const pids = (await lab.net.net.exec('rs2', ['pgrep', '-f', 'real-server.mjs rs-2'])).stdout.trim();
      await lab.net.net.exec('rs2', ['kill', ...pids.split('\n')]);
      await lab.moves(1);
      await lab.net.net.startRealServer('rs2', 'rs-2', HTTP);
      assert.match(lab.ok('server', 'web/server2', 'ready'), /: up, weight 1/);
      await lab.moves(2);
    });
  });
});

inNetwork(
  'maintenance resets what is left after its time; names and numbers that are wrong cost exit code 1',
  async () => {
    await Lab.run(2, async (lab) => {
      const holder = lab.net.net.start('client', [process.execPath, '-e', HOLDER]);
      await holder.waitFor(/answered/);
      await lab.until('a session', async () => (await lab.net.sessions()).sessions.length === 1);
      const { server } = (await lab.net.sessions()).sessions[0]!;
      assert.match(
        lab.ok('server', `web/${server}`, 'maint', '--within', '300ms'),
        /: maint, weight 1, 1 connection$/m,
      );
      await holder.waitFor(/ECONNRESET/);
      assert.match(lab.ok('server', `web/${server}`), /: maint, weight 1, 0 connections/);
      await lab.net.tsvs.waitFor(/"msg":"service web: sessions of server\d reset"/);

      const wrong: [string[], RegExp][] = [
        [['web'], /'web' is no server: write SERVICE\/SERVER/],
        [['wbe/server1', 'drain'], /no service is called 'wbe': did you mean 'web'\?/],
        [['web/server1', 'weight', '70000'], /a weight is 0\.\.65535/],
        [['web/server1', 'drain', '--within', '3s'], /--within is for 'maint'/],
        [['web/server1', 'stop'], /Allowed choices are weight, ready, drain, maint/],
      ];
      for (const [words, message] of wrong) {
        const { code, stderr } = lab.tsvs('server', ...words);
        assert.match(stderr, message);
        assert.is(code, 1, stderr);
      }
    });
  },
);

test.run();
