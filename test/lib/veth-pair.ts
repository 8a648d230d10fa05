/** A veth pair, va and vb, in a namespace of its own, for the links that are interfaces of the system. */
import { spawnSync } from 'node:child_process';
import { inNamespace } from './enter-netns.ts';
import { Net, SWITCH } from './netns.ts';

export class VethPair {
  private readonly net = new Net({ hosts: {} });
  private readonly place = this.net.namespace(SWITCH);

  ip(...words: string[]): void {
    this.run('ip', words);
  }

  tc(...words: string[]): void {
    this.run('tc', words);
  }

  private run(program: string, words: readonly string[]): void {
    const { status, stderr } = spawnSync(program, ['-n', this.place, ...words], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}`);
  }

  /** `queues`: of each end, in each direction. */
  add(queues = 1): void {
    const many = ['numrxqueues', `${queues}`, 'numtxqueues', `${queues}`];
    this.ip('link', 'add', 'va', ...many, 'type', 'veth', 'peer', 'name', 'vb', ...many);
    for (const end of ['va', 'vb']) this.ip('link', 'set', end, 'addrgenmode', 'none', 'up');
  }

  setMtu(mtu: number): void {
    for (const end of ['va', 'vb']) this.ip('link', 'set', end, 'mtu', `${mtu}`);
  }

  /** Both ends; nothing when they are gone already. */
  remove(): void {
    spawnSync('ip', ['-n', this.place, 'link', 'del', 'va']);
  }

  /** Does something in the namespace that must not be asynchronous. */
  inside<T>(body: () => T): T {
    return inNamespace(this.place, body);
  }

  close(): Promise<void> {
    return this.net.close();
  }
}
