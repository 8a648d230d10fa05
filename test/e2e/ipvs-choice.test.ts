/** Which server each connection gets from a running tsvs: as IPVS chose in the recordings of test/golden/ipvsadm, case by case. */
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Round } from '../lib/chosen-client.ts';
import { listFiles } from '../lib/files.ts';
import { GOLDEN, type IpvsLab, scene } from '../lib/ipvs-lab.ts';

/** Recorded cases of which server each connection got: with the cases that show what a change of the table does to the turn. */
const CHOSEN = /^(46|6\d|7\d|8\d|9\d|100|102)-/;

interface Wanted extends Round {
  readonly names: readonly string[];
}
/** What a recorded case does, in order. */
type Turn = { readonly command: string; readonly listed: string } | { readonly round: Wanted };

const REFUSED = 'ECONNREFUSED';

/** One VIP for each case: connections of a server that was there before count. */
function turnsOf(text: string, vip: string): Turn[] {
  const turns: Turn[] = [];
  let closed = false;
  let from: string[] = [];
  let names: string[] = [];
  let port = 50_000;
  const add = (clients: readonly string[], answers: readonly string[], hold: boolean): void => {
    const fixed = answers.map((name) => (name === 'ConnectionRefusedError' ? REFUSED : name));
    turns.push({ round: { address: vip, port: 80, from: clients, hold, names: fixed } });
  };
  const one = (n: number): string[] => Array.from({ length: n }, () => `10.0.1.10:${port++}`);
  const row = (n: number, first: number): string[] =>
    Array.from({ length: n }, (_, i) => `10.0.1.${10 + i}:${first + i}`);
  const flush = (): void => {
    if (from.length > 0) add(from, names, true);
    [from, names] = [[], []];
  };
  for (const line of text.split('\n')) {
    const rest = line.slice(2);
    const [, client = '', server = ''] = /^# {3}(\S+) (\S+)$/.exec(line) ?? [];
    if (client !== '') {
      from.push(client);
      names.push(server);
      continue;
    }
    flush();
    const [, about = '', listed = ''] = /^# (.*?): ((?:(?:rs\d|ConnectionRefusedError) ?)+)$/.exec(line) ?? [];
    const answers = listed.trim().split(' ');
    if (line.startsWith('> ')) turns.push({ command: rest.replaceAll('10.0.1.100', vip), listed: '' });
    else if (line.startsWith('= ')) {
      const last = turns.at(-1) as Extract<Turn, { command: string }>;
      turns[turns.length - 1] = { ...last, listed: `${last.listed}${rest.replaceAll('10.0.1.100', vip)}\n` };
    } else if (about === 'order') add(one(answers.length), answers, !closed);
    else if (/^\d+ connections$/.test(about)) add(one(answers.length), answers, false);
    else if (about !== '') add(row(answers.length, (port += 100)), answers, true);
    else if (/^# .*TCP connections/.test(line)) closed = /closed/.test(line);
  }
  flush();
  return turns;
}

/** The program test/lib/chosen-client.ts at the client. */
class Chosen {
  private readonly lines: AsyncIterator<string>;
  private readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async start(lab: IpvsLab): Promise<Chosen> {
    const path = join(lab.folder, 'chosen.sock');
    const server = createServer();
    await new Promise<void>((done) => void server.listen(path, done));
    const called = new Promise<Socket>((done) => void server.once('connection', done));
    lab.net.start('client', [process.execPath, '--import', 'tsx', 'test/lib/chosen-client.ts', path]);
    const socket = await called;
    server.close();
    return new Chosen(socket);
  }

  /** Who answered; null: nobody is asked, and what was held is reset. */
  async play(round: Round | null): Promise<string[]> {
    this.socket.write(`${round === null ? '' : JSON.stringify(round)}\n`);
    const { value } = await this.lines.next();
    return JSON.parse(value as string) as string[];
  }

  close(): void {
    this.socket.destroy();
  }
}

scene(
  'which server each connection gets, as IPVS chose: every recorded scheduler, NAT and direct routing',
  async (lab) => {
    const { net } = lab;
    const address = ['dpip', 'addr', 'add', '192.168.0.1/24', 'dev', 'tap0'];
    await lab.done(...address);
    const vips = Array.from({ length: 40 }, (_, i) => `10.0.1.${100 + i}`);
    const at = async (place: string, ...commands: string[]): Promise<void> => {
      const { code, stderr } = await net.exec(place, ['sh', '-ec', commands.join('\n')]);
      assert.is(code, 0, stderr);
    };
    await at('client', ...Array.from({ length: 29 }, (_, i) => `ip addr add 10.0.1.${11 + i}/24 dev eth0`));
    for (const i of [1, 2, 3]) {
      // Answers of NAT go through tsvs, those of direct routing to the client.
      await at(
        `rs${i}`,
        'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore',
        'echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce',
        `ip addr add 192.168.0.1${i}/24 dev eth0`,
        `ip addr del 10.0.1.2${i}/24 dev eth0`,
        'ip route add 10.0.1.0/24 dev eth0',
        'ip rule add from 192.168.0.0/24 to 10.0.1.0/24 lookup 100',
        'ip route add 10.0.1.0/24 via 192.168.0.1 table 100',
        ...vips.map((vip) => `ip addr add ${vip}/32 dev lo`),
      );
      await net.startRealServer(`rs${i}`, `rs${i}`);
    }
    const chosen = await Chosen.start(lab);
    /** Of the hashed cases no inactive connections: how many of those before were over by then was a matter of seconds. */
    const rows = (text: string, hashed: boolean): string =>
      text.replace(/\(size=\d+\)/, '').replace(hashed ? / \d+ +$/gm : /$^/, '');
    let compared = 0;
    const files = listFiles(GOLDEN, '.txt').filter((path) => CHOSEN.test(basename(path)));
    for (const [i, file] of files.entries()) {
      // `dh` goes by the VIP.
      const vip = file.includes('-dh-') ? vips[0]! : vips[i + 1]!;
      await chosen.play(null);
      await lab.run('-C');
      for (const turn of turnsOf(readFileSync(file, 'utf8'), vip)) {
        if ('round' in turn) {
          const { names, ...round } = turn.round;
          assert.equal(await chosen.play(round), names, basename(file));
          compared += names.length;
        } else {
          if (turn.command === 'ipvsadm -C') await chosen.play(null);
          const { exitCode, stdout } = await lab.shell(turn.command);
          assert.is(exitCode, 0, turn.command);
          const hashed = /-(sh|dh|mh)-/.test(file);
          if (turn.command === 'ipvsadm -Ln')
            assert.is(rows(stdout, hashed), rows(turn.listed, hashed), basename(file));
        }
      }
    }
    chosen.close();
    assert.ok(files.length === 23 && compared > 1500, `${files.length} ${compared}`);
  },
);

test.run();
