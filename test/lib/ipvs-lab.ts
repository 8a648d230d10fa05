/**
 * A running tsvs for ipvsadm: without any service, in the network of the recordings of test/golden/ipvsadm (client 10.0.1.10, servers
 * rs1 to rs3 at 10.0.1.21 to 10.0.1.23), with LVS's timeouts and counts.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RemoteTable } from '../../src/cli/ipvsadm.ts';
import { namesFromFiles } from '../../src/ipvsadm/names.ts';
import type { Result } from '../../src/ipvsadm/run.ts';
import { runLine } from '../golden/ipvsadm/shell.ts';
import { type Result as Ended, Net, type Running, SWITCH } from './netns.ts';
import { noCommands, noNamespaces, testUnless } from './privilege.ts';

export const GOLDEN = 'test/golden/ipvsadm';
export const NAMES = namesFromFiles(
  readFileSync(`${GOLDEN}/hosts`, 'utf8'),
  readFileSync(`${GOLDEN}/services`, 'utf8'),
);

/** `test`, where networks can be built. */
export const add = testUnless(noNamespaces() ?? noCommands('ip', 'curl'), test);

const CONFIG = `[global]
layer4 = on
timeout_profile = lvs
[link lan]
device = tap0
mac = 02:00:00:64:00:0a
[network]
netmask = 255.255.255.0
local_address = 10.0.1.1
gateway = 10.0.1.10
`;

export class IpvsLab {
  readonly net: Net;
  readonly folder: string;
  /** Its table, for `ipvsadm` in this process. */
  readonly target: RemoteTable;
  private readonly tsvs: Running;

  private constructor(net: Net, folder: string, tsvs: Running) {
    this.net = net;
    this.folder = folder;
    this.tsvs = tsvs;
    this.target = new RemoteTable(net.socketPath());
  }

  static async start(): Promise<IpvsLab> {
    const folder = mkdtempSync(join(tmpdir(), 'tsvs-ipvsadm-'));
    const net = new Net({
      hosts: {
        client: { address: '10.0.1.10/24' },
        ...Object.fromEntries([1, 2, 3].map((i) => [`rs${i}`, { address: `10.0.1.2${i}/24` }])),
      },
      taps: ['tap0'],
    });
    const conf = join(folder, 'lb.conf');
    writeFileSync(conf, CONFIG);
    return new IpvsLab(net, folder, await net.startTsvs(conf));
  }

  /** A line of the shell with ipvsadm in it, without a process of its own; `files` are those it reads and writes. */
  shell(line: string, input = '', files = new Map<string, string>()): Promise<Result> {
    return runLine(line, input, { target: this.target, names: NAMES, program: 'ipvsadm' }, files);
  }

  /** The same for command lines of ipvsadm that must succeed; gives what the last one prints. */
  async run(...lines: string[]): Promise<string> {
    let printed = '';
    for (const line of lines) {
      const { exitCode, stdout, stderr } = await this.shell(`ipvsadm ${line}`);
      assert.equal([exitCode, stderr], [0, ''], line);
      printed = stdout;
    }
    return printed;
  }

  /** The program `ipvsadm`, as an operator calls it. */
  ipvsadm(...words: string[]): Promise<Ended> {
    return this.program('dist/ipvsadm.js', ...words);
  }

  /** A command line of the program `tsvs`, as an operator calls it, that must succeed; gives what it prints. */
  async done(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.program('dist/bin.js', ...words);
    assert.equal([code, stderr], [0, ''], words.join(' '));
    return stdout;
  }

  program(file: string, ...words: string[]): Promise<Ended> {
    const env = `TSVS_CONTROL=${this.net.socketPath()}`;
    return this.net.exec(SWITCH, ['env', env, process.execPath, file, ...words]);
  }

  async close(): Promise<void> {
    assert.is(await this.tsvs.stop(), 0, this.tsvs.output);
    await this.net.close();
  }

  remove(): void {
    this.net.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A test with a lab of its own. */
export function scene(name: string, body: (lab: IpvsLab) => Promise<void>): void {
  add(name, async () => {
    const lab = await IpvsLab.start();
    try {
      await body(lab);
      await lab.close();
    } finally {
      lab.remove();
    }
  });
}
