/** The settings at the head of a packet script: which there are, what they may say, and what they make of the host. */

import type { TcpConfig } from '../../../stack/tcp/config.ts';
import { CONGESTION_CONTROLS, congestionControl } from '../../../stack/tcp/congestion/registry.ts';
import type { RigOptions } from '../tcp-peer.ts';
import { Expected } from './scan.ts';
import type { Script } from './script.ts';

/** Everything the head decides. */
export interface Settings {
  readonly rig: RigOptions;
  /** What counts as on time, in microseconds: timers tick in milliseconds. */
  readonly toleranceUs: number;
  /** Nagle's algorithm, for every connection. */
  readonly nagle: boolean;
  /** The peer's initial sequence number. */
  readonly peerIss: number;
}

const OFF_ON = ['off', 'on'];

interface Setting {
  /** The words it may be; undefined = a whole number. */
  readonly words?: readonly string[];
  readonly tcp?: (value: string) => Partial<TcpConfig>;
}

const number =
  (key: keyof TcpConfig): ((value: string) => Partial<TcpConfig>) =>
  (value) => ({ [key]: Number(value) });

const SETTINGS: Record<string, Setting> = {
  congestion: {
    words: CONGESTION_CONTROLS.map((c) => c.name),
    tcp: (name) => ({ congestion: congestionControl(name)! }),
  },
  ecn: { words: ['off', 'passive', 'on'], tcp: (v) => ({ ecn: v as TcpConfig['ecn'] }) },
  syn_cookies: { words: ['off', 'auto', 'always'], tcp: (v) => ({ synCookies: v as TcpConfig['synCookies'] }) },
  nagle: { words: OFF_ON },
  user_timeout_ms: { tcp: number('userTimeoutMs') },
  time_wait_ms: { tcp: number('timeWaitMs') },
  mss_clamp: { tcp: number('mssClamp') },
  receive_buffer: { tcp: (v) => ({ rcvBuf: Number(v), bufStart: Number(v) }) },
  send_buffer: { tcp: number('sndBuf') },
  max_connections: { tcp: number('maxConnections') },
  max_half_open: { tcp: number('maxHalfOpen') },
  max_time_wait: { tcp: number('maxTimeWait') },
  mtu: {},
  host_iss: {},
  peer_iss: {},
  tolerance_us: {},
};

export function checkSetting(key: string, value: string): void {
  const known = SETTINGS[key];
  if (known === undefined) throw new Expected(`there is no setting ${key}`, Object.keys(SETTINGS).join(', '));
  if (known.words !== undefined) {
    if (!known.words.includes(value)) throw new Expected(`${key} cannot be ${value}`, known.words.join(' or '));
  } else if (!/^\d+$/.test(value)) throw new Expected(`${key} cannot be ${value}`, 'a whole number');
}

/** Without a head: Reno, SYN cookies, no ECN of our own, no Nagle; numbers from the same start each time. */
export function settingsOf(script: Script): Settings {
  const of = (key: string): string | undefined => script.settings.get(key)?.value;
  let tcp: Partial<TcpConfig> = { congestion: congestionControl('reno')! };
  for (const [key, { value }] of script.settings) tcp = { ...tcp, ...SETTINGS[key]?.tcp?.(value) };
  const [mtu, hostIss] = [of('mtu'), of('host_iss')];
  return {
    rig: {
      tcp,
      ...(mtu !== undefined && { wire: { mtu: Number(mtu) } }),
      ...(hostIss !== undefined && { iss: Number(hostIss) | 0 }),
    },
    toleranceUs: Number(of('tolerance_us') ?? 1000),
    nagle: of('nagle') === 'on',
    peerIss: Number(of('peer_iss') ?? 1_000_000),
  };
}
