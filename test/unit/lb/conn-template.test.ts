import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../../lb/conn-row.ts';
import { ConnRig, specOf } from '../../lib/conn-rig.ts';

const VIP = 0x0a640001;
const RS = 0x0ac80001;
const MASK24 = -256;
const client = (last: number): number => 0xc0a80100 + last;

const open = (rig: ConnRig, proto = 6, from = client(5), mask = MASK24, vport = 80, timeoutMs = 10_000): number =>
  rig.templates.open(proto, from, mask, VIP, vport, RS, 8080, 7, 3, timeoutMs);

test('everyone behind the mask has one template, per protocol, address and port', () => {
  const rig = new ConnRig(8);
  const t = open(rig);
  assert.is(rig.templates.find(6, client(5), MASK24, VIP, 80), t);
  assert.is(rig.templates.find(6, client(77), MASK24, VIP, 80), t);
  assert.is(rig.templates.find(6, client(256), MASK24, VIP, 80), 0);
  assert.is(rig.templates.find(17, client(5), MASK24, VIP, 80), 0);
  assert.is(rig.templates.find(6, client(5), MASK24, VIP, 0), 0);
  assert.is(rig.templates.find(6, client(5), MASK24, VIP + 1, 80), 0);
  const at = t << c.ROW_SHIFT;
  const { rows } = rig.templates.table;
  assert.equal([rows[at + c.RADDR], rows[at + c.RLPORTS]! >>> 16, rows[at + c.DEST]], [RS, 8080, 3]);
});

test('a firewall mark takes the place of the address, for all protocols', () => {
  const rig = new ConnRig(8);
  const t = rig.templates.open(0, client(5), -1, 9, 0, RS, 0, 7, 3, 10_000);
  assert.is(rig.templates.find(0, client(5), -1, 9, 0), t);
  assert.is(rig.templates.find(0, client(6), -1, 9, 0), 0);
});

test('an unused template ends in its time', () => {
  const rig = new ConnRig(8);
  open(rig);
  rig.pass(9999);
  assert.is(rig.templates.table.size(), 1);
  rig.pass(1001);
  assert.equal(rig.ended, ['template 1 expired']);
});

test('a template lives as long as its connections, renewed by a minute at a time', () => {
  const rig = new ConnRig(8);
  const t = open(rig);
  const a = rig.conns.open(specOf(1, { timeoutMs: 100_000 }));
  const b = rig.conns.open(specOf(2, { timeoutMs: 20_000 }));
  rig.conns.control(a, t);
  rig.conns.control(b, t);
  assert.is(rig.templates.children(t), 2);
  rig.pass(11_001);
  assert.is(rig.templates.find(6, client(5), MASK24, VIP, 80), t);
  assert.ok(rig.templates.table.dueIn(t) > 58_000);
  rig.pass(10_000);
  assert.is(rig.templates.children(t), 1);
  rig.conns.close(a, c.END_FLUSHED);
  assert.is(rig.templates.children(t), 0);
  rig.pass(52_000);
  assert.equal(rig.ended, ['2 expired', '1 flushed', 'template 1 expired']);
});

test('an invalid template matches no more, makes room for a new one, and leaves after its connections', () => {
  const rig = new ConnRig(8);
  const t = open(rig);
  const conn = rig.conns.open(specOf(1, { timeoutMs: 15_000 }));
  rig.conns.control(conn, t);
  rig.templates.table.invalidate(t);
  assert.is(rig.templates.find(6, client(5), MASK24, VIP, 80), 0);
  assert.ok((rig.templates.table.rows[(t << c.ROW_SHIFT) + c.META]! & c.F_INVALID) !== 0);
  const t2 = open(rig, 6, client(9));
  assert.is.not(t2, t);
  assert.is(rig.templates.find(6, client(5), MASK24, VIP, 80), t2);
  rig.pass(75_000);
  assert.ok(rig.ended.indexOf('template 1 expired') > rig.ended.indexOf('1 expired'));
  assert.is(rig.templates.table.size(), 0);
});

test.run();
