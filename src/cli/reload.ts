/** `tsvs reload`: the running tsvs reads its configuration again and changes what is different. */
import { resolve } from 'node:path';
import { type ErrorReply, PATHS, type ReloadReply, type ReloadRequest } from '../control/api.ts';
import { send } from '../control/client.ts';
import { EXIT, Failure } from './failure.ts';
import { type ControlOptions, request } from './request.ts';
import { plural } from './units.ts';

export interface ReloadOptions extends ControlOptions {
  /** Another file than the one tsvs was started with. */
  readonly config?: string;
}

export async function reload(options: ReloadOptions): Promise<void> {
  // Its directory need not be ours.
  const body: ReloadRequest = options.config === undefined ? {} : { file: resolve(options.config) };
  const reply = await request(options, (socket) => send<ReloadReply>(socket, 'POST', PATHS.reload, body), refusal);
  for (const warning of reply.warnings) console.error(`warning: ${warning}`);
  console.log(options.json ? JSON.stringify(reply, null, 2) : formatReload(reply));
}

export function formatReload({ file, version, changes }: ReloadReply): string {
  if (changes.length === 0) return `${file}: nothing has changed`;
  return [...changes, `${file}: ${plural(changes.length, 'change')}, version ${version}`].join('\n');
}

function refusal(status: number, { error, hint, errors = [] }: ErrorReply): Failure | null {
  if (status !== 422 && status !== 409) return null;
  const last = hint === undefined ? error : `${error}: ${hint}`;
  return new Failure(EXIT.CONFIG, [...errors, last].join('\n'));
}
