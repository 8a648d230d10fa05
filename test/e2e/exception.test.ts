/** A link shared with the host: the VIP answers, and so does an address of the kernel's on the TAP that `exception` names. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl'), test);

const HOST = '10.9.0.9';

add('the host keeps an address of its own behind the link of tsvs', async () => {
  const lab = await VipNet.start({ linkSettings: ['exception = tap:host0'] });
  try {
    await lab.startHttp();
    const script = `ip addr add ${HOST}/24 dev host0 && ip link set host0 up`;
    assert.is((await lab.net.exec(SWITCH, ['sh', '-c', script])).code, 0);
    const server = await lab.net.startRealServer(SWITCH, 'host', 8080);
    for (const address of [VIP, HOST]) {
      const { stdout } = await lab.client(['ping', '-c', '3', '-i', '0.05', '-W', '2', address]);
      assert.match(stdout, /3 received, 0% packet loss/, address);
    }
    assert.match(await lab.shell(`curl -sS -m 5 -f http://${VIP}/`), /^rs-/);
    assert.is(await lab.shell(`curl -sS -m 5 -f http://${HOST}:8080/`), 'host');
    assert.is(await lab.shell(`curl -sS -m 20 -f http://${HOST}:8080/bytes/5000000 | wc -c`), '5000000');
    await server.stop();
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

test.run();
