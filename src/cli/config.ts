/** `tsvs config show`: the running configuration, as a file that reproduces it. */
import { type ConfigReply, PATHS } from '../control/api.ts';
import { ask } from '../control/client.ts';
import { type ControlOptions, request } from './request.ts';

export const CONFIG_ACTIONS = ['show'] as const;

export async function config(_action: (typeof CONFIG_ACTIONS)[number], options: ControlOptions): Promise<void> {
  const reply = await request(options, (socket) => ask<ConfigReply>(socket, PATHS.config));
  process.stdout.write(options.json ? `${JSON.stringify(reply, null, 2)}\n` : reply.text);
}
