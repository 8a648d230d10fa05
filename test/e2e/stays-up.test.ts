/**
 * It stays up: two links, each with a client and a server of its own. While something happens to the first (its interface is
 * deleted and created again under load, more comes than its ring holds), requests over the second go on without one
 * failure; what happened is counted and said, and the first serves again by itself. For each kind of link.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PATHS, type StatsReply } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask } from '../../src/control/client.ts';
import { Net, poll, type Running, SWITCH } from '../lib/netns.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { LB } from '../lib/vip-net.ts';

const tools = noNamespaces() ?? noCommands('ip', 'ab', 'hping3');
const add = testUnless(tools ?? (isRealRoot() ? undefined : 'hping3 needs root'), test);

type Kind = 'tap' | 'packet' | 'xdp';
const KINDS: readonly Kind[] = ['tap', 'packet', 'xdp'];

/** More than a ring, the socket's queue or the queue of a TAP holds. */
const BURST = 30_000;
/** Requests that show that a side is served, and how many are under way at a time. */
const ENOUGH = 100;
const AT_ONCE = 8;

/** Side a is 10.19.0.0/24, side b 10.20.0.0/24: client .1, VIP .10, server .11. */
class TwoSides {
  readonly net: Net;
  tsvs!: Running;
  private readonly kind: Kind;
  private readonly workers: number;
  private readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-up-'));
  private readonly socket = join(this.folder, 'tsvs.sock');

  constructor(kind: Kind, workers: number) {
    this.kind = kind;
    this.workers = workers;
    const hosts = {
      ca: { address: '10.19.0.1/24' },
      sa: { address: '10.19.0.11/24' },
      cb: { address: '10.20.0.1/24' },
      sb: { address: '10.20.0.11/24' },
    };
    this.net = new Net(
      kind === 'tap' ? { hosts, taps: ['eth0', 'eth1'], queues: workers > 1 } : { hosts: { ...hosts, [LB]: {} } },
    );
  }

  async start(): Promise<void> {
    const { net, kind } = this;
    if (kind !== 'tap') net.addCable(LB, 'eth1');
    const side = (name: string, n: number, device: string): string => `
[link ${name}]
kind = ${kind}
device = ${device}
mac = 02:00:00:64:00:${n}
address = 10.${n}.0.2/24
[service ${name}]
ip = 10.${n}.0.10
ports = 80
count = 1
server1 = 10.${n}.0.11:80:1:00:00:00:00:00:00
`;
    const config = join(this.folder, 'lb.conf');
    writeFileSync(
      config,
      `[global]\nworkers = ${this.workers}\n${side('a', 19, 'eth0')}${side('b', 20, 'eth1')}[network]\nnetmask = 255.255.255.0\n`,
    );
    await Promise.all([net.startRealServer('sa', 'a'), net.startRealServer('sb', 'b')]);
    const place = kind === 'tap' ? SWITCH : LB;
    this.tsvs = await net.startTsvs(config, `${kind}:eth0`, ['--control', this.socket], place);
  }

  async counter(name: string): Promise<number> {
    return (await ask<StatsReply>(this.socket, PATHS.stats)).counters[name]!;
  }

  /** Frames that each link has lost. */
  async missed(): Promise<number[]> {
    return (await ask<LinksReply>(this.socket, PATHS.links)).links.map(({ missed }) => missed);
  }

  /** Requests without an end; -r goes on when some fail. */
  load(client: string, vip: string, ...words: string[]): Running {
    const plan = ['-q', '-s', '10', '-t', '60', '-n', '9999999', '-c', String(AT_ONCE)];
    return this.net.start(client, ['ab', ...plan, ...words, `http://${vip}/`]);
  }

  async deleteFirst(): Promise<void> {
    const place = this.kind === 'tap' ? SWITCH : LB;
    const { code, stderr } = await this.net.exec(place, ['ip', 'link', 'del', 'eth0']);
    assert.is(code, 0, stderr);
  }

  async createFirst(): Promise<void> {
    if (this.kind !== 'tap') return this.net.addCable(LB, 'eth0');
    await this.net.exec(SWITCH, [
      'ip',
      'tuntap',
      'add',
      'eth0',
      'mode',
      'tap',
      ...(this.workers > 1 ? ['multi_queue'] : []),
    ]);
    await this.net.exec(SWITCH, ['ip', 'link', 'set', 'eth0', 'master', 'br0', 'up']);
  }

  async served(): Promise<void> {
    const { code, stdout, stderr } = await this.net.exec('ca', ['curl', '-sS', '-m', '10', 'http://10.19.0.10/']);
    assert.equal([code, stdout.trim()], [0, 'a'], `${stderr}${this.tsvs.output}`);
  }

  /** Ends the load of the second side: not one request has failed. */
  async assertUnharmed(load: Running): Promise<void> {
    await poll('requests over the second side', 10_000, async () => {
      const { services } = await ask<StatsReply>(this.socket, PATHS.stats);
      return services.find(({ name }) => name === 'b')!.conns > ENOUGH + AT_ONCE;
    });
    await load.stop('SIGINT');
    const number = (label: string): number =>
      Number(new RegExp(`^${label}:\\s+(\\d+)`, 'm').exec(load.output)?.[1] ?? Number.NaN);
    assert.is(number('Failed requests'), 0, load.output);
    assert.ok(number('Complete requests') >= ENOUGH, load.output);
  }

  async close(): Promise<void> {
    try {
      assert.is(await this.tsvs.stop('SIGTERM', 15_000), 0, this.tsvs.output);
      const { frames } = JSON.parse(this.tsvs.output.trim().split('\n').at(-1)!) as { frames: StatsReply['frames'] };
      const { received, created, sent, delivered, dropped, held } = frames;
      assert.is(received + created, sent + delivered + dropped + held, 'frames are conserved');
      assert.is(held, 0, this.tsvs.output);
    } finally {
      await this.net.close();
      rmSync(this.folder, { recursive: true });
    }
  }
}

async function withSides(kind: Kind, body: (lab: TwoSides) => Promise<void>, workers = 1): Promise<void> {
  const lab = new TwoSides(kind, workers);
  try {
    await lab.start();
    await body(lab);
    await lab.close();
  } finally {
    await lab.net.close();
  }
}

for (const [kind, workers] of [...KINDS.map((kind) => [kind, 1] as const), ['tap', 2], ['packet', 2]] as const) {
  const name = workers === 1 ? kind : `${kind}, ${workers} workers`;
  add(`${name}: an interface deleted and created again under load, the other one goes on`, () =>
    withSides(
      kind,
      async (lab) => {
        const other = lab.load('cb', '10.20.0.10');
        const load = lab.load('ca', '10.19.0.10', '-r');
        await pause(300);
        await lab.deleteFirst();
        await lab.tsvs.waitFor(new RegExp(`link ${kind}:eth0 is down`));
        await pause(200);
        await lab.createFirst();
        await lab.tsvs.waitFor(new RegExp(`link ${kind}:eth0 is up`));
        for (let i = 0; i < workers * 4; i++) await lab.served();
        await load.stop('SIGINT');
        await lab.assertUnharmed(other);
        assert.is(await lab.counter('port.downs'), workers, 'each worker has seen it');
      },
      workers,
    ),
  );
}

for (const kind of KINDS) {
  add(`${kind}: more than the ring holds while tsvs is held up is counted and said, then all is as before`, () =>
    withSides(kind, async (lab) => {
      await lab.served();
      const other = lab.load('cb', '10.20.0.10');
      await pause(100);
      lab.tsvs.child.kill('SIGSTOP');
      try {
        const words = ['hping3', '-q', '--udp', '-p', '9', '-i', 'u5', '-c', String(BURST), '10.19.0.10'];
        await lab.net.exec('ca', words);
      } finally {
        lab.tsvs.child.kill('SIGCONT');
      }
      await lab.tsvs.waitFor(new RegExp(`link ${kind}:eth0: [\\d,]+ frames came faster .*port\\.missed`));
      const [missed, ofOther] = (await lab.missed()) as [number, number];
      console.log(`${kind}: ${missed} of ${BURST} missed`);
      assert.ok(missed > BURST / 4 && missed > ofOther, `${missed} missed, ${ofOther} of the other`);
      await lab.served();
      await lab.assertUnharmed(other);
    }),
  );
}

test.run();
