/**
 * The control socket: HTTP GET over a unix socket, answered with JSON. It is opened before the links are, so that two
 * processes cannot fight over one network; until `serve` it answers 503.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type ErrorReply, PATHS } from './api.ts';
import type { Snapshot } from './snapshot.ts';
import { claimSocket } from './socket.ts';

type Handler = (snapshot: Snapshot) => object;

const ROUTES: Readonly<Record<string, Handler>> = {
  [PATHS.stats]: (snapshot) => snapshot.stats(),
  [PATHS.sessions]: (snapshot) => snapshot.sessions(),
  [PATHS.drops]: (snapshot) => snapshot.drops(),
  [PATHS.neigh]: (snapshot) => snapshot.neigh(),
};

export interface Answer {
  readonly status: number;
  readonly body: object;
  /** Methods allowed, where another was used. */
  readonly allow?: string;
}

/** The answer to one request; `snapshot` is null while tsvs starts. Never throws. */
export function answer(method: string, url: string, snapshot: Snapshot | null): Answer {
  const path = url.split('?', 1)[0]!;
  const handler = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (handler === undefined) return refuse(404, `there is no ${path}`, { paths: Object.keys(ROUTES) });
  if (method !== 'GET' && method !== 'HEAD') {
    return { ...refuse(405, `${method} ${path}: only GET is supported`), allow: 'GET, HEAD' };
  }
  if (snapshot === null) return refuse(503, 'tsvs is starting');
  try {
    return { status: 200, body: handler(snapshot) };
  } catch (error) {
    return refuse(500, String(error));
  }
}

function refuse(status: number, error: string, more: Partial<ErrorReply> = {}): Answer {
  const body: ErrorReply = { error, ...more };
  return { status, body };
}

export class ControlServer {
  readonly path: string;
  private readonly server: Server;
  private snapshot: Snapshot | null = null;
  private removeFile: () => void = () => {};

  private constructor(path: string) {
    this.path = path;
    this.server = createServer((request, response) => this.respond(request, response));
  }

  /** Throws ControlSocketError when the path cannot be had. */
  static async open(path: string): Promise<ControlServer> {
    const control = new ControlServer(path);
    control.removeFile = await claimSocket(control.server, path);
    // process.exit comes by here from wherever it is called.
    process.once('exit', control.removeFile);
    return control;
  }

  /** Starts answering from `snapshot`. */
  serve(snapshot: Snapshot): void {
    this.snapshot = snapshot;
  }

  /** For a start that fails. A process that ends otherwise needs no call: the file goes with it. */
  close(): void {
    process.off('exit', this.removeFile);
    this.removeFile();
    this.server.close();
    this.server.closeAllConnections();
  }

  private respond(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    const { status, body, allow } = answer(request.method ?? '', request.url ?? '', this.snapshot);
    const text = `${JSON.stringify(body)}\n`;
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      ...(allow === undefined ? {} : { Allow: allow }),
    });
    response.end(request.method === 'HEAD' ? undefined : text);
  }
}
