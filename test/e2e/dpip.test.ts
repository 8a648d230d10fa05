/** dpip against a running tsvs: what it changes holds for packets from then on. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { scene } from '../lib/ipvs-lab.ts';
import type { Result } from '../lib/netns.ts';

scene('dpip: addresses, routes and neighbours while it runs; servers of another network', async (lab) => {
  const { net } = lab;
  const dpip = (line: string): Promise<Result> => lab.program('dist/bin.js', 'dpip', ...line.split(' '));
  const done = (line: string): Promise<string> => lab.done('dpip', ...line.split(' '));
  await net.exec('rs1', ['ip', 'addr', 'add', '192.168.0.11/24', 'dev', 'eth0']);
  await net.exec('rs1', ['ip', 'route', 'add', '10.0.1.10/32', 'via', '192.168.0.1']);
  await net.startRealServer('rs1', 'rs-1');
  await done('addr add 192.168.0.1/24 dev tap0');
  assert.match(await done('addr show'), /^inet 192\.168\.0\.1\/24 scope global tap0\n {5}valid_lft forever/m);
  assert.match(
    await done('route show'),
    /^inet 192\.168\.0\.0\/24 via 0\.0\.0\.0 src 0\.0\.0\.0 dev tap0 mtu 1500 tos 0 scope link metric 0 proto auto onlink $/m,
  );
  await lab.run('-A -t 10.0.1.100:80 -s rr', '-a -t 10.0.1.100:80 -r 192.168.0.11:80 -m');
  const { stdout } = await net.exec('client', ['curl', '-sS', '--max-time', '5', 'http://10.0.1.100/']);
  assert.is(stdout.trim(), 'rs-1');
  await lab.run(
    '-A -t 10.0.1.100:81 -s rr',
    '-P -t 10.0.1.100:81 -z 192.168.0.50 -F lan',
    '-a -t 10.0.1.100:81 -r 192.168.0.11:80 -b',
  );
  await net.exec('client', ['curl', '-sS', '--max-time', '5', 'http://10.0.1.100:81/']);
  assert.match(
    await done('-s addr show dev tap0'),
    /^inet 192\.168\.0\.50\/24 scope global tap0\n {5}valid_lft forever preferred_lft forever sapool sa_used 1 sa_free 1032175 sa_miss 0$/m,
  );
  await lab.run('-D -t 10.0.1.100:81');
  assert.match(
    await done('neigh show'),
    /^ip: 192\.168\.0\.11 +mac: ..:..:..:..:..:.. +state: REACHABLE +dev: tap0 {2}core: 0 {2}$/m,
  );

  await done('route add 172.16.0.0/12 via 192.168.0.254');
  assert.match(
    await done('route show'),
    /^inet 172\.16\.0\.0\/12 via 192\.168\.0\.254 .* scope global metric 0 proto static $/m,
  );
  await done('neigh add 192.168.0.254 lladdr 02:00:00:00:00:fe dev tap0');
  assert.match(await done('neigh show'), /^ip: 192\.168\.0\.254 +mac: 02:00:00:00:00:fe .* static$/m);
  await done('neigh del 192.168.0.254 dev tap0');
  for (const [line, message] of [
    ['neigh del 192.168.0.254 dev tap0', '192.168.0.254 is no neighbour on tap0'],
    ['neigh show dev tap9', "no link is called 'tap9'; there is tap0"],
    ['addr show dev tap9', "no link is called 'tap9'; there is tap0"],
    [
      'addr add 10.77.0.255/24 dev tap0',
      "[link tap0] address: 10.77.0.255 is the broadcast address of its network: write a host's own address",
    ],
  ] as const) {
    const { code, stderr } = await dpip(line);
    assert.equal([code, stderr], [1, `tsvs: ${message}\n`], line);
  }
  assert.match(
    await done('-s link show'),
    /^1: tap0: socket 0 mtu 1500 .*\n {4}UP \n {4}addr 02:00:00:64:00:0A .*\n {4}ipackets .*\n {4}\d+ +\d+ +\d+/,
  );

  const inUse = await dpip('addr del 10.0.1.100 dev tap0');
  assert.is(inUse.code, 1);
  assert.match(inUse.stderr, /10\.0\.1\.100 is a virtual address: it goes with its service/);
  const needed = await dpip('addr del 192.168.0.1/24 dev tap0');
  assert.match(needed.stderr, /192\.168\.0\.254|192\.168\.0\.11/);
  await done('route set 172.16.0.0/12 via 192.168.0.253');
  assert.match(await done('route show'), /^inet 172\.16\.0\.0\/12 via 192\.168\.0\.253 /m);
  await done('route del 172.16.0.0/12');
  for (const line of ['route add 172.17.0.0/16 via 192.168.0.254', 'route set 172.18.0.0/16 via 192.168.0.254'])
    await done(line);
  await done('route flush dev tap0');
  assert.not.match(await done('route show'), /proto static/);
  await done('addr add 10.77.0.1/24 dev tap0');
  const stillNeeded = await dpip('addr flush dev tap0');
  assert.match(stillNeeded.stderr, /192\.168\.0\.11/);
  assert.match(await done('addr show'), /10\.77\.0\.1\/24/, 'nothing of it has been done');
  await done('addr del 10.77.0.1/24 dev tap0');
  const shown = await lab.done('config', 'show');
  assert.match(shown, /^address = 192\.168\.0\.1\/24$/m);
  assert.not.match(shown, /172\.16/);
});

test.run();
