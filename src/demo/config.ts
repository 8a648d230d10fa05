/** The configuration of the demo: what a user would write, read by the same loader. */
import { formatError } from '../config/error.ts';
import { load } from '../config/load.ts';
import type { Config } from '../config/model.ts';

export const DEMO_CONFIG = `[vip]
ip = 192.168.100.10
ports = 80
mac = 02:00:00:64:00:0a

[realserver]
count = 2
server1 = 192.168.100.11:80:1:00:00:00:00:00:00
server2 = 192.168.100.12:80:1:00:00:00:00:00:00

[network]
gateway = 192.168.100.1
netmask = 255.255.255.0
`;

/** Throws when a text is not valid. */
export function demoConfig(text: string = DEMO_CONFIG): Config {
  const loaded = load(text, 'demo');
  if ('model' in loaded) return loaded.model;
  throw new Error(loaded.errors.map(formatError).join('\n'));
}
