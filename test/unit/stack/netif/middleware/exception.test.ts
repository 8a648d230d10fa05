/** What is not ours goes to the host and back. Three contexts: the network, tsvs in the middle, the host. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Context } from '../../../../../stack/context.ts';
import { FATE_DROPPED, FATE_RECEIVED, FATE_SENT } from '../../../../../stack/context.ts';
import { TX_FULL } from '../../../../../stack/drop.ts';
import type { Device } from '../../../../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE } from '../../../../../stack/netif/memory.ts';
import { Exception } from '../../../../../stack/netif/middleware/exception.ts';
import { DELIVERED } from '../../../../../stack/verdict.ts';
import { assertConserved, MAC_B, newContext, tcpFrame, testFrame } from '../../../../contract/device.ts';

const OURS = 0x0a070002;

interface Scene {
  readonly net: Context;
  readonly us: Context;
  readonly host: Context;
  readonly far: Device;
  readonly tap: Device;
  readonly device: Exception;
}

function scene(sharesMac: boolean): Scene {
  const [net, us, host] = [newContext(), newContext(), newContext()];
  const [far, link] = memoryWire(net, us, { ...PLAIN_WIRE, ring: 16, txChecksum: true });
  const [mine, tap] = memoryWire(us, host, { ...PLAIN_WIRE, ring: 16 });
  const macHi = (MAC_B[0]! << 8) | MAC_B[1]!;
  const macLo = (MAC_B[2]! << 24) | (MAC_B[3]! << 16) | (MAC_B[4]! << 8) | MAC_B[5]!;
  const device = new Exception(us, link, mine, { macHi, macLo, sharesMac });
  device.claim(OURS, true);
  return { net, us, host, far, tap, device };
}

function take(ctx: Context, device: Device): number {
  const out = new Int32Array(64);
  const n = device.rx(out, 64);
  ctx.fate[FATE_RECEIVED]! += n;
  for (const f of out.subarray(0, n)) ctx.settle(f, DELIVERED);
  return n;
}

function send(device: Device, f: number): void {
  assert.is(device.tx(Int32Array.of(f), 0, 1), 1);
}

function done({ net, us, host, far, tap, device }: Scene): void {
  assertConserved(us, 'in the middle');
  for (const one of [far, device, tap]) one.close();
  for (const ctx of [net, us, host]) assert.is(ctx.pool.inUse, 0);
}

/** An ARP request for 10.7.0.`last`. */
function arp(ctx: Context, last: number): number {
  const f = testFrame(ctx, 60, 0);
  ctx.pool.buf.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1], ctx.pool.off[f]! + 12);
  ctx.pool.buf.set([10, 7, 0, last], ctx.pool.off[f]! + 38);
  ctx.pool.buf.fill(0xff, ctx.pool.off[f]!, ctx.pool.off[f]! + 6);
  return f;
}

test('our addresses are ours, the rest is the host’s, in the order it came', () => {
  const s = scene(true);
  send(s.far, arp(s.net, 2));
  send(s.far, arp(s.net, 3));
  send(s.far, tcpFrame(s.net, 0, 0));
  send(s.far, testFrame(s.net, 99, 1));
  assert.is(take(s.us, s.device), 2);
  assert.is(take(s.host, s.tap), 2);
  assert.is(s.us.fate[FATE_SENT], 2);
  assert.is(s.device.brings(OURS), true);
  s.device.claim(OURS, false);
  send(s.far, tcpFrame(s.net, 0, 0));
  assert.is(take(s.us, s.device), 0);
  assert.is(take(s.host, s.tap), 1);
  done(s);
});

test('where the host has a MAC address of its own, all that is sent to ours is ours', () => {
  const s = scene(false);
  send(s.far, testFrame(s.net, 99, 1));
  assert.is(take(s.us, s.device), 1);
  assert.is(take(s.host, s.tap), 0);
  done(s);
});

test('what the host sends leaves through the link; beyond its ring it is dropped and counted', () => {
  const s = scene(true);
  for (let i = 0; i < 16; i++) send(s.tap, testFrame(s.host, 60, i));
  assert.is(take(s.us, s.device), 0);
  for (let i = 0; i < 3; i++) send(s.tap, testFrame(s.host, 60, i));
  assert.is(take(s.us, s.device), 0);
  assert.is(take(s.net, s.far), 16);
  assert.is(s.us.fate[FATE_DROPPED], 3);
  assert.is(s.us.drops[TX_FULL], 3);
  done(s);
});

test('a host that does not take its frames costs only those', () => {
  const s = scene(true);
  for (let i = 0; i < 16; i++) send(s.far, testFrame(s.net, 60, i));
  take(s.us, s.device);
  for (let i = 0; i < 3; i++) send(s.far, testFrame(s.net, 60, i));
  send(s.far, tcpFrame(s.net, 0, 0));
  assert.is(take(s.us, s.device), 1);
  assert.is(s.us.drops[TX_FULL], 3);
  assert.is(take(s.host, s.tap), 16);
  done(s);
});

test('a host whose MTU is larger than that of the link is told of, as long as it is', () => {
  const s = scene(true);
  // The link's own.
  const caps = s.device.caps as { mtu: number };
  assert.is(s.device.notice, '');
  caps.mtu = 1400;
  const lost = 'what the host sends by memory:a is lost where it is larger than the link takes';
  assert.is(s.device.notice, `${lost}: 'ip link set a mtu 1400'`);
  caps.mtu = 1500;
  assert.is(s.device.notice, '');
  done(s);
});

test.run();
