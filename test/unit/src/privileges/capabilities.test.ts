/** Which capabilities links need to be opened again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LinkKind } from '../../../../src/config/model.ts';
import { CAPABILITY_NAMES, capabilitiesFor, withoutCapabilities } from '../../../../src/privileges/capabilities.ts';

const names = (workers: number, ...kinds: LinkKind[]): string[] =>
  capabilitiesFor(
    kinds.map((kind) => ({ kind })),
    workers,
  ).map((cap) => CAPABILITY_NAMES[cap]!);

test('each link what it needs, together each once; several workers a program to share out frames', () => {
  assert.equal(names(1, 'tap'), ['CAP_NET_ADMIN']);
  assert.equal(names(1, 'packet', 'tap'), ['CAP_NET_ADMIN', 'CAP_NET_RAW']);
  assert.equal(names(2, 'packet'), ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF']);
  assert.equal(names(1, 'xdp', 'packet'), ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_IPC_LOCK', 'CAP_BPF']);
});

test('who needs none keeps none', () => {
  assert.equal(names(4, 'memif', 'pcap'), []);
});

test('where nothing is kept, it is said which links cannot be opened again, and when that matters', () => {
  const said = (workers: number, ...kinds: LinkKind[]): string[] =>
    withoutCapabilities(
      kinds.map((kind) => ({ kind, name: 'wan' })),
      workers,
    );
  const start = 'link wan needs a restart of tsvs when its interface is deleted';
  const end = "'keep_capabilities = on' keeps what opens it again";
  assert.equal(said(1, 'packet', 'tap', 'memif', 'pcap'), [], 'bound again, attached again, or not opened by us');
  assert.equal(said(2, 'packet'), [`${start}: ${end}`]);
  assert.equal(said(1, 'xdp'), [`${start}: ${end}`]);
  assert.equal(said(2, 'xdp'), [`${start}, or a worker dies: ${end}`]);
});

test.run();
