/** `tsvs server SERVICE/SERVER ...`: a weight or a state for one server of the running tsvs; alone, what it does. */
import { readDuration } from '../config/duration.ts';
import { type ErrorReply, type ServerStats, type ServerWish, serverPath } from '../control/api.ts';
import { ask, send } from '../control/client.ts';
import { EXIT, Failure } from './failure.ts';
import { type ControlOptions, request } from './request.ts';
import { weightText } from './stats.ts';
import { plural } from './units.ts';

export interface ServerOptions extends ControlOptions {
  /** maint: when the sessions that are left are reset. */
  readonly within?: string;
}

export const SERVER_ACTIONS = ['weight', 'ready', 'drain', 'maint'] as const;
type ServerAction = (typeof SERVER_ACTIONS)[number];

const MAX_WEIGHT = 65535;
const DAY_MS = 86_400_000;

export async function server(
  name: string,
  action: ServerAction | undefined,
  weight: string | undefined,
  options: ServerOptions,
): Promise<void> {
  const path = pathOf(name);
  const wish = wishOf(action, weight, options.within);
  const reply = await request(
    options,
    (socket) => (wish === null ? ask<ServerStats>(socket, path) : send<ServerStats>(socket, 'PUT', path, wish)),
    refusal,
  );
  console.log(options.json ? JSON.stringify(reply, null, 2) : formatServer(name, reply));
}

export function formatServer(name: string, server: ServerStats): string {
  const { address, state, active, inactive } = server;
  const conns = inactive === 0 ? plural(active, 'connection') : `${active} active and ${inactive} inactive connections`;
  return `${name} ${address}: ${state}, weight ${weightText(server)}, ${conns}`;
}

function pathOf(name: string): string {
  const [service, dest, more] = name.split('/');
  if (service && dest && more === undefined) return serverPath(service, dest);
  throw usage(`'${name}' is no server: write SERVICE/SERVER, such as web/server1`);
}

/** Throws Failure. Null: only look. */
function wishOf(action: ServerAction | undefined, weight: string | undefined, within?: string): ServerWish | null {
  if (within !== undefined && action !== 'maint') throw usage("--within is for 'maint'");
  if (weight !== undefined && action !== 'weight') throw usage(`'${action}' takes no number`);
  switch (action) {
    case undefined:
      return null;
    case 'weight':
      if (weight === undefined || !/^\d{1,5}$/.test(weight) || Number(weight) > MAX_WEIGHT) {
        throw usage(`weight ${weight ?? '(none)'}: a weight is 0..${MAX_WEIGHT}`);
      }
      return { weight: Number(weight) };
    case 'maint':
      return within === undefined ? { state: 'maint' } : { state: 'maint', deadlineMs: milliseconds(within) };
    default:
      return { state: action };
  }
}

function milliseconds(text: string): number {
  return readDuration(text, 0, DAY_MS, () => {
    throw usage(`--within ${text}: write a whole number and its unit, as in 500ms, 30s, 5m, up to 1d`);
  });
}

function refusal(status: number, { error, hint }: ErrorReply): Failure | null {
  if (status !== 400 && status !== 404 && status !== 409) return null;
  return usage(hint === undefined ? error : `${error}: ${hint}`);
}

function usage(message: string): Failure {
  return new Failure(EXIT.USAGE, message);
}
