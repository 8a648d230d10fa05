/** Every kind of tsvs that the benchmark can start has a configuration that is good, and is what its name says. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../src/config/load.ts';
import { tsvsConfig } from '../../bench/lab-tsvs.ts';
import { PROFILE_NAMES, type ProfileName, TSVS_NAMES, type TsvsName } from '../../bench/options.ts';

function configOf(name: TsvsName, profile: ProfileName) {
  const loaded = load(tsvsConfig(name, profile), 'lb.conf');
  if (!('model' in loaded)) throw new Error(`${name}: ${JSON.stringify(loaded.errors)}`);
  return loaded.model;
}

test('each has mode, link and polling of its name', () => {
  for (const profile of PROFILE_NAMES) {
    for (const name of TSVS_NAMES) {
      const { global, links, services } = configOf(name, profile);
      const words = name.split('-');
      const mode = words.includes('fullnat') ? 'fnat' : words.includes('dr') ? 'dr' : 'proxy';
      assert.equal(new Set(services.map((service) => service.mode)), new Set([mode]), name);
      assert.is(services.length, mode === 'proxy' ? 2 : 3, name);
      assert.is(global.polling, words.includes('busy') ? 'busy' : 'adaptive', name);
      const link = words.find((word) => ['tap', 'packet', 'xdp'].includes(word));
      assert.is(links[0]!.kind, link ?? { wire: 'xdp', offload: 'tap' }[profile], name);
      assert.is(links[0]!.offload, links[0]!.kind === 'xdp' ? 'off' : 'on', name);
    }
  }
});

test.run();
