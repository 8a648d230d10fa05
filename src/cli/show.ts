/** What `tsvs stats`, `sessions`, `drops` and `neigh` have in common: ask, and print as text or as JSON. */
import { ask } from '../control/client.ts';
import { type ControlOptions, request } from './request.ts';

export type ShowOptions = ControlOptions;

/** Prints the reply to GET `path`: with --json as it is, else as `format` has it. Throws Failure. */
export async function show<T>(options: ShowOptions, path: string, format: (reply: T) => string): Promise<void> {
  const reply = await request(options, (socket) => ask<T>(socket, path));
  console.log(options.json ? JSON.stringify(reply, null, 2) : format(reply));
}
