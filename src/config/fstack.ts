/**
 * F-Stack's config.ini, for `l4lb -c fstack.ini --lb-config lb.conf`: addr, netmask and gateway of [port0], [port1], ... are read, broadcast
 * follows from them, and every other key is named in one warning because nothing here corresponds to it. The address becomes
 * a local address, which connections to servers leave from; netmask and gateway fill what lb.conf leaves out.
 */
import { formatIpv4 } from './address.ts';
import type { Draft } from './draft.ts';
import type { ErrorList, Located } from './error.ts';
import { type IniSection, indexIni } from './ini-index.ts';
import type { Ipv4 } from './model.ts';
import { readSection } from './read-section.ts';
import type { Row } from './rows/row.ts';
import { ip } from './rows/server.ts';
import { SCHEMA } from './schema.ts';

const { gateway, netmask } = SCHEMA.network.rows;
const PORT_ROWS = {
  addr: { ...ip, range: gateway.range, example: '192.168.100.20' } satisfies Row,
  netmask,
  gateway: { ...gateway, without: 'the gateway of lb.conf' } satisfies Row,
};
/** Said by address and netmask already. */
const IMPLIED = ['broadcast'];

export interface FstackConfig {
  readonly localAddresses: readonly Located<Ipv4>[];
  readonly prefixLen: Located<number> | null;
  /** Someone wrote a netmask, if perhaps a wrong one: lb.conf need not have its own. */
  readonly hasNetmask: boolean;
  readonly gateway: Located<Ipv4> | null;
  /** At most one. */
  readonly warnings: readonly string[];
}

/** Reads config.ini. Never throws; errors in [portN] sections are added to `errors`, other sections are not judged. */
export function readFstack(text: string, file: string, errors: ErrorList): FstackConfig {
  const index = indexIni(text);
  const isPort = (title: string): boolean => /^port\d+$/.test(title);
  for (const problem of index.problems) {
    const binary = index.sections.length === 0;
    if (binary || isPort(problem.section)) errors.add({ file, ...problem }, problem.message, problem.hint);
  }
  const ports = index.sections.filter((section) => isPort(section.title));
  if (ports.length === 0 && index.problems.length === 0) {
    const where = { file, line: index.lastLine, column: 1, section: 'port0', key: '' };
    errors.add(where, 'section is missing', 'add [port0] with addr, netmask and gateway');
  }

  const localAddresses: Located<Ipv4>[] = [];
  const prefixLens: Located<number>[] = [];
  const gateways: Located<Ipv4>[] = [];
  for (const port of ports) {
    const used = port.entries.filter((entry) => Object.hasOwn(PORT_ROWS, entry.key));
    const { where, values, missing } = readSection(file, { ...port, entries: used }, PORT_ROWS, errors);
    if (missing.includes('addr'))
      errors.add({ ...where, key: 'addr' }, 'key is missing', `add addr = ${PORT_ROWS.addr.example}`);
    if (values.addr) localAddresses.push(values.addr);
    if (values.netmask) prefixLens.push(values.netmask);
    if (values.gateway) gateways.push(values.gateway);
  }
  checkAgreement(prefixLens, (prefixLen) => `/${prefixLen}`, errors);
  checkAgreement(gateways, formatIpv4, errors);
  return {
    localAddresses,
    prefixLen: prefixLens[0] ?? null,
    hasNetmask: ports.some((port) => port.entries.some((entry) => entry.key === 'netmask')),
    gateway: gateways[0] ?? null,
    warnings: unusedWarning(index.sections, isPort, file),
  };
}

/** There is one network, so every [portN] has to name the same one. */
function checkAgreement(values: readonly Located<number>[], print: (value: number) => string, errors: ErrorList): void {
  const [first, ...rest] = values;
  for (const other of rest) {
    if (other.value === first.value) continue;
    const message = `${print(other.value)} differs from ${print(first.value)} of [${first.section}] (line ${first.line})`;
    errors.add(other, message, 'ports in different networks are not supported yet');
  }
}

function unusedWarning(sections: readonly IniSection[], isPort: (title: string) => boolean, file: string): string[] {
  const unused: string[] = [];
  for (const section of sections) {
    const keys = new Set(section.entries.map((entry) => entry.key));
    if (isPort(section.title)) for (const key of [...Object.keys(PORT_ROWS), ...IMPLIED]) keys.delete(key);
    if (keys.size > 0) unused.push(`[${section.title}] ${[...keys].join(', ')}`);
  }
  return unused.length === 0 ? [] : [`${file}: these keys have no effect here: ${unused.join('; ')}`];
}

/** The draft of lb.conf with what config.ini adds to it. Where both say something different, lb.conf's line gets the error. */
export function combine(fstack: FstackConfig, lb: Draft): Draft {
  const { network, errors } = lb;
  complainConflict(network.prefixLen, fstack.prefixLen, (prefixLen) => `/${prefixLen}`, errors);
  complainConflict(network.gateway, fstack.gateway, formatIpv4, errors);

  const listed = network.localAddresses;
  for (const address of fstack.localAddresses) {
    if (listed.length === 0 || listed.some((local) => local.value === address.value)) continue;
    const message = `the list lacks ${formatIpv4(address.value)}, addr of [${address.section}] (${address.file}:${address.line})`;
    errors.add(listed[0], message, 'add it, or leave local_address out');
  }
  return {
    ...lb,
    network: {
      gateway: network.gateway ?? fstack.gateway,
      prefixLen: network.prefixLen ?? fstack.prefixLen,
      netmaskMissing: fstack.hasNetmask ? null : network.netmaskMissing,
      localAddresses: listed.length > 0 ? listed : fstack.localAddresses,
    },
  };
}

function complainConflict<T>(
  ours: Located<T> | null,
  theirs: Located<T> | null,
  print: (value: T) => string,
  errors: ErrorList,
): void {
  if (!ours || !theirs || ours.value === theirs.value) return;
  const message = `${print(ours.value)} differs from ${print(theirs.value)} of [${theirs.section}] (${theirs.file}:${theirs.line})`;
  errors.add(ours, message, 'make them agree, or leave one out');
}
