/** How flows are divided among workers, as configurations follow one another: connections are found where they were opened. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';
import { dividesAnew, steerKinds } from '../../../../src/workers/kinds.ts';
import { BY_CLIENT, BY_CLIENT_ADDRESS, BY_FLOW, endpointKey, type Kinds } from '../../../../stack/steer/steering.ts';
import { ip } from '../../../lib/sim.ts';

const VIP = ip('10.0.0.10');
const SERVER = ip('10.0.0.11');

/** `services`: lines of a section each, for the VIP and a server. */
function configOf(...services: string[]): Config {
  const sections = services.map(
    (lines, i) =>
      `[service s${i}]\nip = 10.0.0.10\nports = ${80 + i}\n${lines}\ncount = 1\nserver1 = 10.0.0.11:${80 + i}:1:00:00:00:00:00:00\n`,
  );
  const loaded = load(
    `[global]\nlayer4 = on\n[network]\nnetmask = /24\nlocal_address = 10.0.0.30\n${sections.join('')}`,
    'x',
  );
  if ('model' in loaded) return loaded.model;
  throw new Error(JSON.stringify(loaded.errors));
}

const after = (...configs: Config[]): Kinds | null =>
  configs.reduce<Kinds | null>((before, config) => steerKinds(config, () => true, before), null);
const kindAt = (kinds: Kinds | null, port: number): number | undefined =>
  kinds?.services.get(endpointKey(6, VIP, port));

test('nothing is told apart where both directions show the whole flow', () => {
  assert.is(after(configOf('mode = fnat'), configOf('mode = dr')), null);
});

test('NAT goes by the client, persistence by the bits of its address that all services look at', () => {
  const kinds = after(
    configOf('mode = nat', 'mode = fnat\npersistence = 1m\npersistence_netmask = 255.255.255.0', 'mode = fnat'),
  );
  assert.equal(
    [80, 81, 82].map((port) => kindAt(kinds, port)),
    [BY_CLIENT, BY_CLIENT_ADDRESS, BY_FLOW],
  );
  assert.equal([kinds!.natServers.get(SERVER), kinds!.clientMask], [BY_CLIENT, -256]);
  const nat = after(configOf('mode = nat', 'mode = nat\npersistence = 1m'));
  assert.equal([kindAt(nat, 80), nat!.natServers.get(SERVER)], [BY_CLIENT_ADDRESS, BY_CLIENT_ADDRESS]);
});

test('what is taken away is divided as before: servers, services, persistence', () => {
  const nat = configOf('mode = nat');
  for (const gone of [configOf(), { ...nat, services: nat.services.map((one) => ({ ...one, dests: [] })) }]) {
    const kinds = after(nat, gone, gone);
    assert.equal([kindAt(kinds, 80), kinds!.natServers.get(SERVER)], [BY_CLIENT, BY_CLIENT]);
    assert.ok(kinds!.servers.has(SERVER));
  }
  const masked = 'mode = nat\npersistence = 1m\npersistence_netmask = 255.255.0.0';
  const kinds = after(configOf(masked), nat, configOf());
  assert.equal([kindAt(kinds, 80), kinds!.natServers.get(SERVER)], [BY_CLIENT_ADDRESS, BY_CLIENT_ADDRESS]);
  assert.equal([kinds!.clientMask, kinds!.byAddress.has(VIP)], [-65536, true]);
});

test('flows have other owners when a service that was there is divided otherwise', () => {
  const [fnat, nat] = [configOf('mode = fnat'), configOf('mode = nat')];
  const persistent = configOf('mode = nat\npersistence = 1m');
  const more = configOf('mode = nat', 'mode = nat');
  const change = (from: Config, to: Config): boolean => {
    const before = after(from);
    return dividesAnew(
      before,
      steerKinds(to, () => true, before),
    );
  };
  assert.equal([change(fnat, nat), change(nat, persistent)], [true, true]);
  assert.equal(
    [change(fnat, fnat), change(nat, more), change(nat, fnat), change(persistent, nat)],
    new Array(4).fill(false),
  );
});

test.run();
