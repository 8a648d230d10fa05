/**
 * Every section and key of lb.conf: its type, unit, default, range and meaning (rows/). The reader validates by these rows and
 * docs/configuration.md is generated from them (scripts/gen-config-docs.ts), so the two cannot disagree.
 */
import { globalRows } from './rows/global.ts';
import { linkRows, networkRows } from './rows/link.ts';
import type { Section } from './rows/row.ts';
import { serverRows } from './rows/server.ts';
import { markRows, serviceRows, vipRows } from './rows/service.ts';
import { tcpRows } from './rows/tcp.ts';

/** In the order of the generated page. */
export const SCHEMA = {
  global: { named: false, doc: 'The program as a whole. May be left out.', rows: globalRows },
  tcp: {
    named: false,
    doc: 'TCP itself: the connections of mode `proxy` and of health checks. May be left out.',
    rows: tcpRows,
  },
  vip: {
    named: false,
    doc: 'The virtual address of the plain form: one VIP, every port of it a service over the servers of [realserver], scheduled by `conhash` over the 5-tuple. With several ports the services are called `vip:80`, `vip:8080`; a single one is called `vip`.',
    rows: vipRows,
  },
  realserver: { named: false, doc: 'The servers behind [vip]. The two sections need each other.', rows: serverRows },
  network: { named: false, doc: 'The network that the first link is in.', rows: networkRows },
  link: {
    named: true,
    doc: 'What packets come and go by. Without this section it is the TAP interface tap0 with offloads. Several sections are several links, each with a network of its own.',
    rows: linkRows,
  },
  mark: {
    named: true,
    doc: 'A rule that gives packets a firewall mark, so that one service may take several ports, protocols or addresses. The first rule that fits counts.',
    rows: markRows,
  },
  service: {
    named: true,
    doc: 'A service with its own servers, beside or instead of [vip] and [realserver]. As many as needed; an address and port belong to one service only. With several ports the services are called `NAME:PORT`, with one `NAME`.',
    rows: serviceRows,
  },
} as const satisfies Readonly<Record<string, Section>>;

export type SectionKind = keyof typeof SCHEMA;
