/**
 * Many requests from the client of a VipNet, by ApacheBench: counts what failed, in every way it knows to fail.
 */
import type { VipNet } from './vip-net.ts';

export interface Load {
  readonly requests: number;
  readonly concurrency: number;
  /** Several requests per connection. */
  readonly keepAlive?: boolean;
  readonly url: string;
}

export interface LoadResult {
  readonly complete: number;
  /** Failed, by ApacheBench's own words, and those with a status other than 2xx. */
  readonly failed: number;
  /** Requests on a connection that was kept. */
  readonly kept: number;
  readonly perSecond: number;
  /** Slowest request in ms. */
  readonly slowestMs: number;
  readonly report: string;
}

export async function load(lab: VipNet, { requests, concurrency, keepAlive = false, url }: Load): Promise<LoadResult> {
  const words = ['ab', '-q', '-n', String(requests), '-c', String(concurrency), ...(keepAlive ? ['-k'] : []), url];
  const { code, stdout, stderr } = await lab.client(words);
  const number = (label: string): number => Number(new RegExp(`^${label}:\\s+([\\d.]+)`, 'm').exec(stdout)?.[1] ?? 0);
  const report = `${words.join(' ')}: exit code ${code}\n${stdout}${stderr}`;
  if (code !== 0) throw new Error(report);
  return {
    complete: number('Complete requests'),
    failed: number('Failed requests') + number('Write errors') + number('Non-2xx responses'),
    kept: number('Keep-Alive requests'),
    perSecond: number('Requests per second'),
    slowestMs: Number(/^\s+100%\s+(\d+)/m.exec(stdout)?.[1]),
    report,
  };
}
