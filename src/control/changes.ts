/**
 * Requests that change something: what they may look like, and what they are answered. A body that is not understood, a
 * name that does not exist and a change that cannot be are told apart by status and say what would be right. Called by
 * server.ts.
 */
import { z } from 'zod';
import { type ErrorReply, PATHS, type ReloadRequest, type ServerWish } from './api.ts';
import { ChangeError, type RunningConfig } from './running-config.ts';
import type { Snapshot } from './snapshot.ts';

export interface Answer {
  readonly status: number;
  readonly body: object;
  /** Methods allowed, where another was used. */
  readonly allow?: string;
}

export function refuse(status: number, error: string, more: Partial<ErrorReply> = {}): Answer {
  const body: ErrorReply = { error, ...more };
  return { status, body };
}

/** Longest time until a deadline: a day. */
const MAX_DEADLINE_MS = 86_400_000;

const RELOAD = z.strictObject({ file: z.string().min(1).optional() });
const WISH = z
  .strictObject({
    weight: z.int().min(0).max(65535).optional(),
    state: z.enum(['ready', 'drain', 'maint']).optional(),
    deadlineMs: z.int().min(0).max(MAX_DEADLINE_MS).optional(),
  })
  .refine(({ weight, state }) => weight !== undefined || state !== undefined)
  .refine(({ state, deadlineMs }) => deadlineMs === undefined || state === 'maint');

const RELOAD_HINT = 'send nothing, or {"file": "/etc/tsvs/lb.conf"}';
const WISH_HINT =
  'send {"weight": 0..65535}, {"state": "ready"}, {"state": "drain"} or {"state": "maint", "deadlineMs": 30000}';

/** What a path of the services names: a service, or a server of it; null when it is no such path. */
export function namesIn(path: string): { service: string; server: string | null } | null {
  const [, service, server] = new RegExp(`^${PATHS.services}/([^/]+)(?:/servers/([^/]+))?$`).exec(path) ?? [];
  if (service === undefined) return null;
  try {
    return { service: decodeURIComponent(service), server: server === undefined ? null : decodeURIComponent(server) };
  } catch {
    return null;
  }
}

/** The method that changes something at `path`, apart from which it is read; null when nothing is. */
export function changeMethod(path: string): 'POST' | 'PUT' | null {
  if (path === PATHS.reload) return 'POST';
  return namesIn(path)?.server ? 'PUT' : null;
}

/** Makes a change. Never throws. Precondition: `changeMethod(path)` is the method of the request. */
export async function change(path: string, body: string, running: RunningConfig, snapshot: Snapshot): Promise<Answer> {
  try {
    if (path === PATHS.reload) {
      const { file } = read<ReloadRequest>(RELOAD, body === '' ? '{}' : body, RELOAD_HINT);
      return { status: 200, body: await running.reload(file) };
    }
    const { service, server } = namesIn(path) as { service: string; server: string };
    await running.setServer(service, server, read<ServerWish>(WISH, body, WISH_HINT));
    return show(path, snapshot);
  } catch (error) {
    if (!(error instanceof ChangeError)) return refuse(500, String(error));
    const { status, message, hint, errors } = error;
    return refuse(status, message, { ...(hint && { hint }), ...(errors.length > 0 && { errors }) });
  }
}

/** A service or a server of it. */
export function show(path: string, snapshot: Snapshot): Answer {
  const names = namesIn(path);
  const services = snapshot.serviceList();
  const service = services.find(({ name }) => name === names?.service);
  if (service === undefined) {
    return refuse(404, `no service is called '${names?.service}'`, {
      hint: services.map((one) => one.name).join(', '),
    });
  }
  if (names?.server === null) return { status: 200, body: service };
  const server = service.servers.find(({ name, state }) => name === names?.server && state !== 'removed');
  if (server !== undefined) return { status: 200, body: server };
  const hint = service.servers.map((one) => one.name).join(', ');
  return refuse(404, `no server of ${service.name} is called '${names?.server}'`, { hint });
}

function read<T>(form: z.ZodType<unknown>, body: string, hint: string): T {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new ChangeError(400, 'the body is not JSON', hint);
  }
  const { success, data } = form.safeParse(json);
  if (!success) throw new ChangeError(400, 'the body is not understood', hint);
  return data as T;
}
