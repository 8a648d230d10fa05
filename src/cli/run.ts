/** `tsvs run`: load, start, log, drain on SIGTERM. */
import { pino } from 'pino';
import pretty from 'pino-pretty';
import { formatIpv4 } from '../config/address.ts';
import { formatError } from '../config/error.ts';
import { loadFile } from '../config/load.ts';
import { LinkError } from '../links/syscall.ts';
import type { WorkerEvent } from '../workers/events.ts';
import { Supervisor } from '../workers/supervisor.ts';
import { withLink } from './link-option.ts';

export interface RunOptions {
  readonly config: string;
  readonly fstack?: string;
  readonly link?: string;
  readonly control?: string;
  readonly capture?: string;
  readonly log: 'pretty' | 'json';
}

export async function run(options: RunOptions): Promise<void> {
  const loaded = loadFile(options.config, options.fstack);
  if (!('model' in loaded)) {
    for (const error of loaded.errors) console.error(formatError(error));
    process.exit(2);
  }
  const config = options.link === undefined ? loaded.model : withLink(loaded.model, options.link);
  const level = { level: config.global.logLevel };
  const log = options.log === 'json' ? pino(level) : pino(level, pretty({ sync: true, ignore: 'pid,hostname' }));
  for (const warning of loaded.warnings) log.warn(warning);
  let supervisor: Supervisor;
  try {
    supervisor = await Supervisor.start(config, options.capture ?? null);
  } catch (error) {
    log.fatal(error instanceof LinkError ? error.message : (error as Error));
    process.exit(3);
  }
  supervisor.on('event', (event: WorkerEvent) => log.info(event));
  for (const s of config.services) {
    log.info({ service: s.name, vip: `${formatIpv4(s.vip)}:${s.port}`, servers: s.dests.length }, 'listening');
  }
  log.info({ link: `${config.links[0]!.kind}:${config.links[0]!.device}` }, 'ready');
  let draining = false;
  const stop = async (signal: string): Promise<void> => {
    if (draining) return;
    draining = true;
    log.info({ signal, sessions: supervisor.openSessions, limitMs: config.global.drainTimeoutMs }, 'draining');
    await supervisor.drain(config.global.drainTimeoutMs);
    log.info('stopped');
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop('SIGTERM'));
  process.on('SIGINT', () => void stop('SIGINT'));
  supervisor.on('exit', (error: Error | null) => {
    if (draining) return;
    log.fatal({ err: error }, 'the worker has ended');
    process.exit(4);
  });
}
