/**
 * The counters of one worker that other threads read, beside frame fates and drops. The modules count in plain fields
 * of their own; `publish` copies them to shared memory now and then, so the hot path pays nothing for being watched.
 */

import { CoreStats } from '../../lb/core-stats.ts';
import { type HealthChecks, HealthStats } from '../../lb/health/checks.ts';
import type { L4 } from '../../lb/l4.ts';
import { ProxyStats } from '../../lb/l7/proxy-stats.ts';
import type { TcpProxy } from '../../lb/l7/tcp-proxy.ts';
import type { Host } from '../../stack/host.ts';
import { Counters } from '../../stack/mem/counters.ts';
import { TcpStats } from '../../stack/tcp/stats.ts';

const TCP = Object.keys(new TcpStats()) as (keyof TcpStats)[];
const PROXY = Object.keys(new ProxyStats()) as (keyof ProxyStats)[];
const CORE = Object.keys(new CoreStats()) as (keyof CoreStats)[];
const HEALTH = Object.keys(new HealthStats()) as (keyof HealthStats)[];
const HOST = [
  'port.rxFrames',
  'port.rxBytes',
  'port.txFrames',
  'port.txBytes',
  'port.merged',
  'port.missed',
  'port.downs',
  'icmp.echoes',
  'icmp.errors',
  'ipip.packets',
  'tcp.open',
  'tcp.parked',
  'tcp.timeWait',
  'tcp.timeWaitRecycled',
  'pool.inUse',
  'pool.freeSmall',
  'pool.freeBig',
  'loop.turns',
  'loop.sleeps',
  'sched.fallbacks',
  'proxy.open',
  'l4.open',
  'l4.icmpErrors',
] as const;

export const COUNTER_NAMES: readonly string[] = [
  ...HOST,
  ...TCP.map((name) => `tcp.${name}`),
  ...PROXY.map((name) => `proxy.${name}`),
  ...CORE.map((name) => `l4.${name}`),
  ...HEALTH.map((name) => `health.${name}`),
];

/** Counters of the loop itself. */
export interface LoopStats {
  turns: number;
  sleeps: number;
  /** Schedulers from files that were given up. */
  schedulerFallbacks: number;
  /** Times a link was lost. */
  linkDowns: number;
}

export class StatsPublisher {
  private readonly values: Float64Array;
  private readonly host: Host;
  private readonly proxy: TcpProxy;
  private readonly l4: L4 | null;
  private readonly health: HealthChecks;
  private readonly loop: LoopStats;

  constructor(
    sab: SharedArrayBuffer,
    host: Host,
    proxy: TcpProxy,
    l4: L4 | null,
    health: HealthChecks,
    loop: LoopStats,
  ) {
    this.values = Counters.attach(sab, 0).values;
    this.host = host;
    this.proxy = proxy;
    this.l4 = l4;
    this.health = health;
    this.loop = loop;
  }

  publish(): void {
    const { values, host, proxy, l4, health, loop } = this;
    const { pool } = host.ctx;
    let rxFrames = 0;
    let rxBytes = 0;
    let txFrames = 0;
    let txBytes = 0;
    let missed = 0;
    for (const port of host.netif.ports) {
      if (port === null) continue;
      const { stats } = port.device;
      rxFrames += stats.rxFrames;
      rxBytes += stats.rxBytes;
      txFrames += stats.txFrames;
      txBytes += stats.txBytes;
      missed += stats.missed;
    }
    let i = 0;
    values[i++] = rxFrames;
    values[i++] = rxBytes;
    values[i++] = txFrames;
    values[i++] = txBytes;
    values[i++] = host.netif.merged;
    values[i++] = missed;
    values[i++] = loop.linkDowns;
    values[i++] = host.icmp.echoes;
    values[i++] = host.icmpError.sent;
    values[i++] = host.ipip?.packets ?? 0;
    values[i++] = host.tcp.open;
    values[i++] = host.tcp.parking.parked;
    values[i++] = host.tcp.timeWait.size;
    values[i++] = host.tcp.timeWait.recycled;
    values[i++] = pool.inUse;
    values[i++] = pool.freeSmallCount;
    values[i++] = pool.freeBigCount;
    values[i++] = loop.turns;
    values[i++] = loop.sleeps;
    values[i++] = loop.schedulerFallbacks;
    values[i++] = proxy.open;
    values[i++] = l4?.open ?? 0;
    values[i++] = l4?.core.related.translated ?? 0;
    for (const name of TCP) values[i++] = host.tcp.stats[name];
    for (const name of PROXY) values[i++] = proxy.stats[name];
    for (const name of CORE) values[i++] = l4?.core.stats[name] ?? 0;
    for (const name of HEALTH) values[i++] = health.stats[name];
  }
}
