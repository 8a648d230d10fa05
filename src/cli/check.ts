/** `tsvs check`: whether a configuration is good, the schedulers it has from files included, and what it amounts to. Starts nothing. */
import { formatEndpoint } from '../config/address.ts';
import type { Config, DestConfig, ServiceConfig } from '../config/model.ts';
import { formatService } from '../config/service-address.ts';
import { prepareSchedulers } from '../schedulers/prepare.ts';
import { loadConfig } from './configuration.ts';
import { EXIT, Failure } from './failure.ts';
import { formatTable, left, right } from './table.ts';
import { plural } from './units.ts';

export interface CheckOptions {
  readonly config: string;
}

export async function check(options: CheckOptions): Promise<void> {
  const { config, warnings } = loadConfig(options.config);
  for (const warning of warnings) console.error(`warning: ${warning}`);
  const problems = prepareSchedulers(config).filter(({ problem }) => problem !== null);
  if (problems.length > 0) {
    const lines = problems.map(({ name, problem }) => `scheduler ${name}: ${problem}`);
    throw new Failure(EXIT.CONFIG, [...lines, 'tsvs run would schedule by wlc instead'].join('\n'));
  }
  console.log(formatSummary(options.config, config));
}

export function formatSummary(file: string, config: Config): string {
  const links = config.links.map((link) => `${link.kind}:${link.device}`).join(', ');
  const head = `${file} is good: ${plural(config.services.length, 'service')} on ${links}`;
  const columns = [
    left('service'),
    left('address'),
    left('scheduler'),
    left('server'),
    left('address'),
    right('weight'),
  ];
  return `${head}\n\n${formatTable(columns, config.services.flatMap(rowsOf))}`;
}

/** A row per server; what is the service's own is said once. */
function rowsOf(service: ServiceConfig): string[][] {
  const own = [service.name, formatService(service), schedulerOf(service)];
  if (service.dests.length === 0) return [[...own, '', '', '']];
  return service.dests.map((dest, i) => [...(i === 0 ? own : ['', '', '']), ...serverCells(dest)]);
}

/** The scheduler and those of its options that are switched on or numbers. */
function schedulerOf({ scheduler, schedOptions }: ServiceConfig): string {
  if (scheduler === 'conhash') return `conhash by ${schedOptions['key']}`;
  const said = Object.entries(schedOptions).flatMap(([option, value]) => {
    if (value === 'off') return [];
    return value === 'on' ? option : `${option} ${value}`;
  });
  return [scheduler, ...said].join(' ');
}

const serverCells = (dest: DestConfig): string[] => [
  dest.name,
  formatEndpoint(dest.ip, dest.port),
  String(dest.weight),
];
