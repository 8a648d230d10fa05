/**
 * Packet sockets against the kernel: the device contract over the two ends of a veth pair, with a ring and without, and
 * what happens when the interface is set down, deleted and created again, or when we are late.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../src/config/load.ts';
import { PacketDevice } from '../../src/links/packet.ts';
import { closePacket, openPacket } from '../../src/links/packet-open.ts';
import { openLinks } from '../../src/workers/link.ts';
import type { Context } from '../../stack/context.ts';
import { LINK_DOWN } from '../../stack/drop.ts';
import { deviceContract, MAC_A, MAC_B, newContext, testFrame } from '../contract/device.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import {
  complaint,
  endsOf,
  later,
  pairOf,
  passes,
  scene,
  staysWithCaller,
  type VethRig,
  vethRig,
} from '../lib/veth-rig.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip'), test);

const LB_CONF = `
[vip]
ip = 10.9.0.1
ports = 80

[realserver]
count = 1
server1 = 10.9.0.2:80:1:00:00:00:00:00:00

[network]
gateway = 10.9.0.254
netmask = 255.255.255.0

[link wan]
kind = packet
device = lo
`;

/** Opens an end, as the main thread would, and drives it, as a worker would. */
const plugIn =
  (offload: boolean, ring: boolean) =>
  (ctx: Context, name: string): PacketDevice => {
    const mac = name === 'va' ? MAC_A : MAC_B;
    const handle = pairOf().inside(() => openPacket({ name, offload, ring, mac }));
    // What goes to a worker has to survive the journey.
    return new PacketDevice(ctx, structuredClone(handle));
  };

function pair(offload: boolean, ring: boolean): VethRig<PacketDevice> {
  const end = plugIn(offload, ring);
  return vethRig(end, end);
}

deviceContract('packet', add, { bounded: false }, () => pair(true, true));
deviceContract('packet without offload', add, { bounded: false }, () => pair(false, true));
deviceContract('packet without a ring', add, { bounded: false }, () => pair(true, false));

const packetScene = (name: string, body: (rig: VethRig<PacketDevice>) => Promise<void> | void): void =>
  add(
    `packet: ${name}`,
    scene(() => pair(true, true), body),
  );

packetScene('an interface that is set down costs what is sent meanwhile, and comes back', async (rig) => {
  pairOf().ip('link', 'set', 'va', 'down');
  assert.is(rig.a.tx(Int32Array.of(testFrame(rig.ctxA, 100, 1)), 0, 1), 1);
  assert.is(rig.ctxA.drops[LINK_DOWN], 1);
  later(endsOf(rig));
  assert.is(rig.a.up, false);
  assert.is(rig.b.up, false, 'the other end has no carrier');
  pairOf().ip('link', 'set', 'va', 'up');
  later(endsOf(rig));
  assert.ok(rig.a.up && rig.b.up);
  await passes(rig, 101);
});

packetScene('an interface that is deleted and created again is taken up again', async (rig) => {
  pairOf().ip('link', 'del', 'va');
  later(endsOf(rig));
  assert.not(rig.a.up || rig.b.up);
  staysWithCaller(rig);
  pairOf().add();
  later(endsOf(rig));
  assert.ok(rig.a.up && rig.b.up);
  await passes(rig, 102);
});

add('packet: an interface with less MTU than IPv4 needs is refused', () => {
  const loaded = load(LB_CONF, 'lb.conf');
  if (!('model' in loaded)) throw new Error(JSON.stringify(loaded));
  pairOf().ip('link', 'set', 'lo', 'mtu', '67');
  const open = (): unknown => pairOf().inside(() => openLinks(loaded.model, [newContext().pool.share]));
  assert.throws(open, "packet lo: its MTU is 67 bytes, and IPv4 needs 68: 'ip link set lo mtu 1500'");
});

packetScene('frames that came while we were late are counted', (rig) => {
  const total = 6000;
  for (let i = 0; i < total; i += 50) {
    const frames = Int32Array.from({ length: 50 }, () => testFrame(rig.ctxA, 60, 0));
    assert.is(rig.a.tx(frames, 0, 50), 50);
  }
  for (let i = 0; i < 100; i++) later(endsOf(rig));
  const { rxFrames, missed } = rig.b.stats;
  assert.ok(missed >= total - 4096, `${missed} missed`);
  assert.is(rxFrames + missed, total);
});

packetScene('a changed MTU is followed; an interface that is away is no change', (rig) => {
  assert.is(rig.a.caps.mtu, 1500);
  for (const mtu of [1400, 1500, 9000]) {
    pairOf().ip('link', 'set', 'va', 'mtu', String(mtu));
    later(endsOf(rig));
    assert.is(rig.a.caps.mtu, mtu);
  }
  pairOf().remove();
  later(endsOf(rig));
  assert.is(rig.a.caps.mtu, 9000);
});

add('packet: says why an interface cannot be opened', () => {
  const options = { offload: true, ring: true, mac: null };
  const text = (name: string): string => complaint(() => closePacket(openPacket({ ...options, name })));
  assert.match(text('nowhere'), /^ENODEV: packet nowhere: there is no interface nowhere/);
  assert.match(text('a/b'), /^EINVAL: packet: 'a\/b' cannot be an interface name/);
  assert.is(text('lo'), 'opened');
});

test.run();
