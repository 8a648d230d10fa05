/** Statistics since the last zeroing, and LVS's estimate of rates, beside columns that only count up. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DestTable } from '../../../../lb/dest.ts';
import { ServiceColumns } from '../../../../lb/service-columns.ts';
import { ESTIMATE_S, Ledger } from '../../../../src/control/ledger.ts';

function rig() {
  const services = ServiceColumns.create(new SharedArrayBuffer(ServiceColumns.bytes(4)), 0, 4);
  const dests = DestTable.create(new SharedArrayBuffer(DestTable.bytes(4)), 0, 4);
  services.proto[1] = 6;
  dests.service[2] = 1;
  return { services, dests, ledger: new Ledger(services, dests) };
}

test('a steady rate is found: after some readings within one percent', () => {
  const { services, ledger } = rig();
  for (let i = 0; i < 20; i++) {
    services.conns[1]! += 1000 * ESTIMATE_S;
    services.inBytes[1]! += 5_000_000 * ESTIMATE_S;
    ledger.estimate();
  }
  const { cps, inBps, outBps } = ledger.service(1);
  assert.ok(Math.abs(cps - 1000) < 10, `${cps}`);
  assert.ok(Math.abs(inBps - 5_000_000) < 50_000, `${inBps}`);
  assert.is(outBps, 0);
});

test('one reading moves the average by a quarter, and it dies away to nothing', () => {
  const { dests, ledger } = rig();
  ledger.estimate();
  dests.inPkts[2]! += 80 * ESTIMATE_S;
  ledger.estimate();
  assert.is(ledger.dest(2).inPps, 20);
  for (let i = 0; i < 30; i++) ledger.estimate();
  assert.is(ledger.dest(2).inPps, 0);
});

test('zeroing a service hides what it and its servers had counted, and changes no column', () => {
  const { services, dests, ledger } = rig();
  services.conns[1] = 7;
  dests.conns[2] = 5;
  assert.equal([ledger.service(1).conns, ledger.dest(2).conns], [7, 5]);
  ledger.zeroService(1);
  assert.equal([ledger.service(1).conns, ledger.dest(2).conns], [0, 0]);
  services.conns[1] = 9;
  assert.is(ledger.service(1).conns, 2);
  assert.is(dests.conns[2], 5);
});

test('a row that passes to another service begins anew', () => {
  const { services, ledger } = rig();
  services.conns[1] = 100;
  ledger.zeroService(1);
  services.conns[1] = 3;
  services.port[1] = 443;
  assert.is(ledger.service(1).conns, 3);
});

test.run();
