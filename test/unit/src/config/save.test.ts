/** A model that is saved and loaded is the same model. */
import { readdirSync } from 'node:fs';
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkScheduler } from '../../../../lb/sched/index.ts';
import { macFromIpv4, netmaskOf, networkOf } from '../../../../src/config/address.ts';
import { formatError } from '../../../../src/config/error.ts';
import { load, loadFile } from '../../../../src/config/load.ts';
import { matchId } from '../../../../src/config/match.ts';
import {
  CHECK_METHODS,
  type CheckConfig,
  CONGESTION,
  CONTROL_MODES,
  type Config,
  type DestConfig,
  ECN_WORDS,
  EXPIRE_QUIESCENT,
  INTERFACE_KINDS,
  LINK_KINDS,
  LOG_LEVELS,
  MATCH_PROTOS,
  type MatchConfig,
  MEMIF_ROLES,
  MODES,
  type Mode,
  POLLINGS,
  PROXY_PROTOCOLS,
  SCHEDULERS,
  type ServiceConfig,
  SYN_COOKIE_WORDS,
  TIMEOUT_PROFILES,
  TIMESTAMPS,
  XDP_MODES,
} from '../../../../src/config/model.ts';
import { save } from '../../../../src/config/save.ts';

const DAY_MS = 86_400_000;
const name = fc.stringMatching(/^[A-Za-z0-9._:-]{1,20}$/);
const path = fc.stringMatching(/^\/[a-z0-9 =,.()\u00e9\u4e00-\u4e10-]{0,20}[a-z]$/);
const device = fc.stringMatching(/^[a-z][a-z0-9._-]{0,14}$/);
const idleMs = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 7 * DAY_MS }),
  fc.integer({ min: 1, max: 168 }).map((h) => h * 3_600_000),
);
const seconds = fc.option(fc.integer({ min: 1, max: 31_535_999 }).map((s) => s * 1000));
const mac = fc.integer({ min: 1, max: 0x7fffffff }).map(macFromIpv4);
/** Positions within the network, all different: 0 gateway, 1..8 VIPs, 9..11 and 12..14 local addresses, then servers. */
const HOSTS = 40;

/** A scheduler with a value for each of its options. */
const scheduling = fc.constantFrom(...SCHEDULERS).chain((scheduler) => {
  const { options } = checkScheduler(scheduler, {});
  const values = Object.entries(options).map(([option, words]) => [option, fc.constantFrom(...words)] as const);
  return fc.record({ scheduler: fc.constant(scheduler), schedOptions: fc.record(Object.fromEntries(values)) });
});

const check: fc.Arbitrary<CheckConfig> = fc
  .record({
    port: fc.option(fc.integer({ min: 1, max: 65535 })),
    intervalMs: fc.integer({ min: 100, max: 3_600_000 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    rise: fc.integer({ min: 1, max: 100 }),
    fall: fc.integer({ min: 1, max: 100 }),
    start: fc.constantFrom('up' as const, 'down' as const),
    passive: fc.boolean(),
    http: fc.option(
      fc
        .record({
          method: fc.constantFrom(...CHECK_METHODS),
          path: fc.constantFrom('/', '/health?deep=1&x=%20', '/a/b[c]=,:'),
          host: fc.option(fc.constantFrom('www.example.com', '10.0.0.1:8080')),
          status: fc.uniqueArray(fc.constantFrom('200-299', '301-301', '404-499'), { minLength: 1 }),
          body: fc.constantFrom('', 'all systems go', 'ok = 1, [fine]'),
        })
        .map(({ status, ...http }) => ({
          ...http,
          body: http.method === 'HEAD' ? '' : http.body,
          status: status.map((range) => ({ from: Number(range.slice(0, 3)), to: Number(range.slice(4)) })),
        })),
    ),
  })
  .map(({ share, ...rest }) => ({ ...rest, timeoutMs: Math.max(10, Math.floor(rest.intervalMs * share)) }));

const cidr = fc
  .record({ bits: fc.integer(), prefixLen: fc.integer({ min: 0, max: 32 }) })
  .map(({ bits, prefixLen }) => ({ network: networkOf(bits, prefixLen), prefixLen }));

const keepAlive = fc.record({
  idleMs: fc.integer({ min: 0, max: DAY_MS }),
  intervalMs: fc.integer({ min: 100, max: 3_600_000 }),
  count: fc.integer({ min: 1, max: 20 }),
});

const tcp = fc.record({
  congestion: fc.constantFrom(...CONGESTION),
  ecn: fc.constantFrom(...ECN_WORDS),
  mssClamp: fc.constantFrom(0, 64, 1460),
  userTimeoutMs: fc.integer({ min: 0, max: DAY_MS }),
  keepAlive,
  maxHalfOpen: fc.integer({ min: 1, max: 65536 }),
  synCookies: fc.constantFrom(...SYN_COOKIE_WORDS),
  timeWaitMs: fc.integer({ min: 1000, max: 600_000 }),
});

const range = fc
  .record({ a: fc.integer(), b: fc.integer(), p: fc.nat(65535), q: fc.nat(65535) })
  .map(({ a, b, p, q }) => ({
    low: Math.min(a >>> 0, b >>> 0) & ~1,
    high: Math.max(a >>> 0, b >>> 0) | 1 | 0,
    lowPort: Math.min(p, q),
    highPort: Math.max(p, q),
  }));

const match: fc.Arbitrary<MatchConfig> = fc.record({
  proto: fc.constantFrom(...MATCH_PROTOS),
  from: fc.option(range),
  to: fc.option(range),
  iif: fc.constant(null),
  oif: fc.constant(null),
});

const marks = fc.uniqueArray(fc.record({ name, mark: fc.integer({ min: 1, max: 0xffffffff }), match }), {
  maxLength: 3,
  selector: (one) => one.name,
});

const service = (vip: number, hosts: readonly number[], locals: readonly number[]): fc.Arbitrary<ServiceConfig> =>
  fc
    .record({
      name,
      af: fc.constant(4 as const),
      proto: fc.constantFrom('tcp' as const, 'udp' as const),
      match: fc.constant(null),
      place: fc.constantFrom('port', 'port', 'all ports', 'icmp', 'mark', 'match'),
      what: match,
      pool: fc.constantFrom(...locals),
      vip: fc.constant(vip),
      port: fc.integer({ min: 1, max: 65535 }),
      mode: fc.constantFrom(...MODES),
      scheduling,
      timeouts: fc.record({
        connectMs: fc.integer({ min: 1, max: DAY_MS }),
        clientMs: idleMs,
        serverMs: idleMs,
        finMs: idleMs,
      }),
      keepAlive,
      maxHalfOpen: fc.integer({ min: 1, max: 65536 }),
      retries: fc.integer({ min: 0, max: 100 }),
      localAddresses: fc.uniqueArray(fc.constantFrom(...locals)),
      mssClamp: fc.integer({ min: 0, max: 1460 }),
      timestamps: fc.constantFrom(...TIMESTAMPS),
      connTimeoutMs: idleMs,
      expireQuiescent: fc.constantFrom(...EXPIRE_QUIESCENT),
      persistence: fc.option(
        fc.record({
          timeoutMs: fc.integer({ min: 1, max: 31 * DAY_MS }),
          netmask: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
          expireQuiescent: fc.boolean(),
        }),
      ),
      onePacket: fc.boolean(),
      fragments: fc.constant('reassemble' as const),
      check: fc.option(check),
      slowStartMs: fc.integer({ min: 0, max: 3_600_000 }),
      maxConnections: fc.integer({ min: 0, max: 1_000_000 }),
      queueTimeoutMs: fc.integer({ min: 0, max: 3_600_000 }),
      proxyProtocol: fc.constantFrom(...PROXY_PROTOCOLS),
      acceptProxy: fc.uniqueArray(cidr, { maxLength: 4, selector: (one) => JSON.stringify(one) }),
      backup: fc.option(
        fc.record({
          name: fc.constant('backup'),
          af: fc.constant(4 as const),
          ip: fc.constantFrom(...hosts),
          port: fc.integer({ min: 1, max: 65535 }),
          weight: fc.integer({ min: 0, max: 65535 }),
          mac: fc.option(mac),
        }),
      ),
      dests: fc
        .uniqueArray(
          fc.record({
            ip: fc.constantFrom(...hosts),
            port: fc.integer({ min: 1, max: 65535 }),
            weight: fc.integer({ min: 0, max: 65535 }),
            mac: fc.option(mac),
            limits: fc.option(fc.tuple(fc.nat(1000), fc.nat(1000))),
            own: fc.option(fc.constantFrom('fnat' as const, 'nat' as const, 'dr' as const)),
            called: fc.option(name),
          }),
          { minLength: 0, maxLength: 6, selector: ({ ip, port }) => `${ip}:${port}` },
        )
        .map((dests) =>
          dests.map(({ limits, own, called, ...dest }, i) => ({
            name: called === null ? `server${i + 1}` : `${called}${i}`,
            af: 4 as const,
            ...dest,
            ...(own && { mode: own }),
            ...(limits && { upper: Math.max(...limits), lower: Math.min(...limits) }),
          })),
        ),
    })
    .map(({ scheduling: chosen, place, what, pool, ...rest }) => {
      const localAddresses = rest.mode === 'snat' ? [pool] : rest.localAddresses;
      return carryingQuic(placed(fitting({ ...rest, ...chosen, localAddresses }), place, what));
    });

/** Only UDP has connection ids to go by. */
function carryingQuic(one: ServiceConfig): ServiceConfig {
  const mayBeUdp = one.proto !== 'tcp' && one.proto !== 'icmp' && one.mode !== 'proxy';
  return one.schedOptions['key'] !== 'quic' || mayBeUdp ? one : { ...one, schedOptions: { key: 'source' } };
}

/** Where packets are looked for: the proxy has an address and a port, SNAT a match, the others what they like. */
function placed(one: ServiceConfig, place: string, what: MatchConfig): ServiceConfig {
  if (one.mode === 'snat' || (place === 'match' && one.mode !== 'proxy')) {
    return { ...one, proto: 'match', vip: matchId(what), port: 0, match: what };
  }
  if (one.mode === 'proxy' || place === 'port') return one;
  if (place === 'mark') return { ...one, proto: 'mark', vip: one.vip | 1, port: 0 };
  return place === 'icmp' ? { ...one, proto: 'icmp', port: 0, onePacket: false } : { ...one, port: 0 };
}

/** As the mode demands: TCP for the proxy, local addresses for FullNAT alone, ports that nobody translates. */
function fitting(any: ServiceConfig): ServiceConfig {
  const taken = any.dests.some(({ ip }) => ip === any.backup?.ip);
  const one: ServiceConfig = taken ? { ...any, backup: null } : any;
  return one.mode === 'proxy' ? fittingMode(one) : fittingMode({ ...one, ...packetsOnly(one) });
}

/** What services of layer 4 lack. */
const packetsOnly = ({ mode, port, check, backup }: ServiceConfig): Partial<ServiceConfig> => ({
  queueTimeoutMs: 0,
  proxyProtocol: 'off',
  acceptProxy: [],
  check: check === null || mode === 'dr' || mode === 'tun' ? null : { ...check, passive: false },
  backup: backup === null || mode === 'nat' || mode === 'fnat' ? backup : { ...backup, port },
});

function fittingMode(one: ServiceConfig): ServiceConfig {
  if (one.mode === 'proxy') {
    const dests = one.dests.map(({ mode: _, ...dest }) => ({ ...dest, weight: dest.weight || 1 }));
    if (dests.length === 0) return fittingMode({ ...one, ...packetsOnly({ ...one, mode: 'nat' }), mode: 'nat' });
    return { ...one, proto: 'tcp', localAddresses: [], persistence: null, onePacket: false, dests };
  }
  if (one.mode === 'snat') {
    return { ...one, persistence: null, onePacket: false, check: null, backup: null, dests: [] };
  }
  const isDirect = (dest: DestConfig): boolean => ['dr', 'tun'].includes(dest.mode ?? one.mode);
  const alone = one.dests.filter(({ ip }, i) => one.dests.findIndex((other) => other.ip === ip) === i);
  const dests = alone.map((dest) => (isDirect(dest) ? { ...dest, port: one.port } : dest));
  const translates = [one, ...dests].some(({ mode }) => mode === 'fnat');
  const onePacket = one.onePacket && one.proto === 'udp' && one.mode !== 'fnat';
  return { ...one, localAddresses: translates ? one.localAddresses : [], onePacket, dests };
}

const isDirectMode = (mode: Mode | undefined): boolean => mode === 'dr' || mode === 'tun';

const network = fc
  .record({
    prefixLen: fc.integer({ min: 8, max: 26 }),
    base: fc.integer({ min: 0x0b000000, max: 0x7e000000 }),
    high: fc.boolean(),
  })
  .map(({ prefixLen, base, high }) => {
    const first = (base | (high ? 0x80000000 : 0)) & netmaskOf(prefixLen);
    return { prefixLen, host: (i: number): number => (first + 1 + i) | 0 };
  })
  .filter(({ host }) => host(0) >>> 24 < 224 && host(0) >>> 24 !== 127);

const config: fc.Arbitrary<Config> = network
  .chain(({ prefixLen, host }) => {
    const hosts = Array.from({ length: HOSTS - 15 }, (_, i) => host(15 + i));
    const locals = [12, 13, 14].map(host);
    return fc.record({
      spare: fc.constant(host(9)),
      global: fc
        .record({
          mode: fc.constantFrom(...MODES),
          logLevel: fc.constantFrom(...LOG_LEVELS),
          controlSocket: fc.option(path),
          controlMode: fc.constantFrom(...CONTROL_MODES),
          controlGroup: fc.constantFrom(null, 'adm', '27'),
          account: fc.constantFrom(
            { user: null, group: null, keepCapabilities: false },
            { user: 'tsvs', group: null, keepCapabilities: true },
            { user: '65534', group: 'nogroup', keepCapabilities: false },
          ),
          workers: fc.constantFrom(1, 1, 1, 2, 16, 0),
          polling: fc.constantFrom(...POLLINGS),
          accessLog: fc.option(path.filter((text) => text !== 'off')),
          drainTimeoutMs: fc.integer({ min: 0, max: DAY_MS }),
          slowStartMs: fc.integer({ min: 0, max: 3_600_000 }),
          xmitTtl: fc.boolean(),
          layer4: fc.boolean(),
          ipipFrom: fc.uniqueArray(cidr, { maxLength: 3, selector: (one) => JSON.stringify(one) }),
          timeoutProfile: fc.constantFrom(...TIMEOUT_PROFILES),
          connTimeouts: fc.record({ tcpMs: seconds, tcpFinMs: seconds, udpMs: seconds }),
        })
        .map(({ account, ...rest }) => ({ ...rest, ...account })),
      tcp,
      links: fc
        .record({
          name,
          kind: fc.constantFrom(...LINK_KINDS),
          device,
          offload: fc.constantFrom('on' as const, 'off' as const),
          xdpMode: fc.constantFrom(...XDP_MODES),
          memif: fc.record({
            role: fc.constantFrom(...MEMIF_ROLES),
            id: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
            secret: fc.constantFrom('', 'a', 'correct-horse.battery'),
            queues: fc.integer({ min: 1, max: 16 }),
            ring: fc.integer({ min: 6, max: 14 }).map((log2) => 1 << log2),
          }),
          mac,
          mtu: fc.integer({ min: 576, max: 1500 }),
          unnamed: fc.boolean(),
          second: fc.boolean(),
        })
        .map(({ unnamed, second, ...one }) => {
          const first = {
            ...one,
            mac: unnamed && one.kind === 'packet' ? null : one.mac,
            addresses: [],
            routes: [],
            exception: null,
          };
          const addresses = [{ ip: 0x01020304, prefixLen: 29 }];
          const routes = [{ network: 0x01030000, prefixLen: 16, gateway: 0x01020305 }];
          const exception = INTERFACE_KINDS.includes(one.kind) ? null : 'host0';
          const other = {
            ...first,
            name: `${one.name.slice(0, 10)}${one.name.endsWith('-2') ? '-3' : '-2'}`,
            device: 'other',
            addresses,
            routes,
            exception,
          };
          return second && one.device !== 'other' ? [first, other] : [first];
        }),
      network: fc.record({
        gateway: fc.option(fc.constant(host(0))),
        prefixLen: fc.constant(prefixLen),
        localAddresses: fc.uniqueArray(fc.integer({ min: 9, max: 11 }).map(host)),
      }),
      marks,
      services: fc
        .array(
          fc.integer({ min: 1, max: 8 }).chain((i) => service(host(i), hosts, locals)),
          { minLength: 0, maxLength: 5 },
        )
        .map((services) =>
          services.filter(
            (one, i) =>
              services.findIndex(
                (other) => other.name === one.name || (other.vip === one.vip && other.port === one.port),
              ) === i,
          ),
        ),
    });
  })
  .map(({ network: net, ...rest }) => {
    // DR and TUN want an address of ours besides the VIP.
    const asks = rest.services.some(({ mode, dests }) => [mode, ...dests.map((dest) => dest.mode)].some(isDirectMode));
    const localAddresses = asks && net.localAddresses.length === 0 ? [rest.spare] : net.localAddresses;
    const layer4 =
      rest.global.layer4 || rest.services.length === 0 || rest.services.some(({ mode }) => mode !== 'proxy');
    // A service that goes by a rule may want what several workers cannot give.
    const ruled = rest.services.some(({ proto }) => proto === 'mark' || proto === 'match');
    const global = { ...rest.global, layer4, workers: ruled ? 1 : rest.global.workers };
    const { spare: _, ...model } = { ...rest, global, network: { ...net, localAddresses } };
    return model;
  })
  .map((model) => structuredClone(model)); // plain prototypes, as load makes them

function reload(text: string): Config {
  const loaded = load(text, 'saved');
  if ('model' in loaded) return loaded.model;
  throw new Error(`${loaded.errors.map(formatError).join('\n')}\n${text}`);
}

test('a saved model loads to an equal one', () => {
  fc.assert(
    fc.property(config, (model) => assert.equal(reload(save(model)), model)),
    { numRuns: 300 },
  );
});

test('saving what was loaded from a save changes nothing', () => {
  fc.assert(
    fc.property(config, (model) => assert.is(save(reload(save(model))), save(model))),
    { numRuns: 50 },
  );
});

for (const file of [
  'lb.conf',
  'samples/proxy-two-services.conf',
  'samples/snat-gateway.conf',
  'samples/l4-marks.conf',
  ...readdirSync(new URL('../../../../config/labs', import.meta.url)).map((name) => `labs/${name}`),
]) {
  test(`config/${file} survives saving`, () => {
    const loaded = loadFile(new URL(`../../../../config/${file}`, import.meta.url).pathname);
    if (!('model' in loaded)) throw new Error(loaded.errors.map(formatError).join('\n'));
    assert.equal(reload(save(loaded.model)), loaded.model);
    for (const { name } of loaded.model.services) assert.match(save(loaded.model), `[service ${name}]`);
  });
}

test.run();
