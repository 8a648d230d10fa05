/**
 * The control socket: HTTP over a unix socket, answered with JSON. It is opened before the links are, so that two
 * processes cannot fight over one network; until `serve` it answers 503.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { PATHS } from './api.ts';
import { type Answer, change, changeMethod, namesIn, refuse, show } from './changes.ts';
import type { RunningConfig } from './running-config.ts';
import type { Snapshot } from './snapshot.ts';
import { claimSocket } from './socket.ts';

type Handler = (snapshot: Snapshot) => object;

const ROUTES: Readonly<Record<string, Handler>> = {
  [PATHS.stats]: (snapshot) => snapshot.stats(),
  [PATHS.sessions]: (snapshot) => snapshot.sessions(),
  [PATHS.drops]: (snapshot) => snapshot.drops(),
  [PATHS.neigh]: (snapshot) => snapshot.neigh(),
  [PATHS.services]: (snapshot) => ({ services: snapshot.serviceList() }),
};

/** Bytes of a request's body at most. */
const MAX_BODY = 65536;

const pathOf = (url: string): string => url.split('?', 1)[0]!;

/** The answer to a request that reads; `snapshot` is null while tsvs starts. Never throws. */
export function answer(
  method: string,
  url: string,
  snapshot: Snapshot | null,
  running: RunningConfig | null = null,
): Answer {
  const path = pathOf(url);
  const handler = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  const isConfig = path === PATHS.config;
  const changing = changeMethod(path);
  if (handler === undefined && !isConfig && changing === null && namesIn(path) === null) {
    return refuse(404, `there is no ${path}`, { paths: Object.values(PATHS) });
  }
  const allowed = [...(path === PATHS.reload ? [] : ['GET', 'HEAD']), ...(changing === null ? [] : [changing])];
  if (!allowed.includes(method)) {
    const allow = allowed.join(', ');
    return { ...refuse(405, `${method} ${path}: only ${allow.replace('GET, HEAD', 'GET')} is supported`), allow };
  }
  if (snapshot === null || (isConfig && running === null)) return refuse(503, 'tsvs is starting');
  try {
    if (isConfig) return { status: 200, body: running!.show() };
    return handler === undefined ? show(path, snapshot) : { status: 200, body: handler(snapshot) };
  } catch (error) {
    return refuse(500, String(error));
  }
}

/** The answer to any request. Never throws. */
export async function respond(
  method: string,
  url: string,
  body: string,
  snapshot: Snapshot | null,
  running: RunningConfig | null,
): Promise<Answer> {
  const path = pathOf(url);
  if (method === 'GET' || changeMethod(path) !== method) return answer(method, url, snapshot, running);
  if (snapshot === null || running === null) return refuse(503, 'tsvs is starting');
  if (snapshot.stats().state !== 'running') return refuse(503, 'tsvs is stopping: nothing can be changed any more');
  return change(path, body, running, snapshot);
}

export class ControlServer {
  readonly path: string;
  private readonly server: Server;
  private snapshot: Snapshot | null = null;
  private running: RunningConfig | null = null;
  private removeFile: () => void = () => {};

  private constructor(path: string) {
    this.path = path;
    this.server = createServer((request, response) => void this.handle(request, response));
  }

  /** Throws ControlSocketError when the path cannot be had. */
  static async open(path: string): Promise<ControlServer> {
    const control = new ControlServer(path);
    control.removeFile = await claimSocket(control.server, path);
    // process.exit comes by here from wherever it is called.
    process.once('exit', control.removeFile);
    return control;
  }

  /** Starts answering from `snapshot`, and changing `running`. */
  serve(snapshot: Snapshot, running: RunningConfig | null = null): void {
    this.snapshot = snapshot;
    this.running = running;
  }

  /** For a start that fails. A process that ends otherwise needs no call: the file goes with it. */
  close(): void {
    process.off('exit', this.removeFile);
    this.removeFile();
    this.server.close();
    this.server.closeAllConnections();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const asked = await bodyOf(request);
    const { status, body, allow } =
      asked === null
        ? refuse(413, `the body is longer than ${MAX_BODY} bytes`)
        : await respond(method, url, asked, this.snapshot, this.running);
    const text = `${JSON.stringify(body)}\n`;
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      ...(allow === undefined ? {} : { Allow: allow }),
    });
    response.end(method === 'HEAD' ? undefined : text);
  }
}

/** Null when it is too long; what of it came, when the client went away. */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length <= MAX_BODY) pieces.push(piece);
    }
  } catch {
    // Nobody waits for the answer.
  }
  return length > MAX_BODY ? null : Buffer.concat(pieces).toString('utf8');
}
