/**
 * The control socket: HTTP over a unix socket, answered with JSON. It is opened before the links are, so that two
 * processes cannot fight over one network; until `serve` it answers 503.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Config } from '../config/model.ts';
import type { Asking } from '../workers/questions.ts';
import { PATHS } from './api.ts';
import { Captures } from './capture.ts';
import { type Answer, change, changeMethods, isShown, namesIn, refuse, show } from './changes.ts';
import { ESTIMATE_S } from './ledger.ts';
import { addressList, routeList } from './network.ts';
import { askPorts } from './ports.ts';
import { ChangeError, type RunningConfig } from './running-config.ts';
import type { Snapshot } from './snapshot.ts';
import { claimSocket } from './socket.ts';
import { askWhy } from './why.ts';

/** `search`: what stands behind the question mark. */
type Handler = (snapshot: Snapshot, search: string) => object;

const ROUTES: Readonly<Record<string, Handler>> = {
  [PATHS.stats]: (snapshot) => snapshot.stats(),
  [PATHS.sessions]: (snapshot) => snapshot.sessions(),
  [PATHS.drops]: (snapshot) => snapshot.drops(),
  [PATHS.neigh]: (snapshot) => snapshot.neigh(),
  [PATHS.services]: (snapshot) => ({ services: snapshot.serviceList() }),
  [PATHS.conns]: (snapshot, search) => snapshot.conns(search),
};

/** What needs the configuration too. */
const CONFIG_ROUTES: Readonly<Record<string, (running: RunningConfig, snapshot: Snapshot) => object>> = {
  [PATHS.config]: (running) => running.show(),
  [PATHS.timeouts]: ({ config }, { ipvs }) => ipvs.reply(config).timeouts,
  [PATHS.ipvs]: ({ config }, { ipvs }) => ipvs.reply(config),
  [PATHS.links]: ({ config }, { network }) => network.linkList(config),
  [PATHS.addresses]: ({ config }) => addressList(config),
  [PATHS.routes]: ({ config }, { network }) => routeList(config, network.linkList(config).links),
};

/** Bytes of a request's body at most. */
const MAX_BODY = 4 * 1024 * 1024;

/** What became of a request whose client went away. */
const BROKEN_OFF = Symbol('broken off');

const pathOf = (url: string): string => url.split('?', 1)[0]!;
const searchOf = (url: string): string => url.slice(pathOf(url).length + 1);

/** The answer to a request that reads; `snapshot` is null while tsvs starts. Never throws. */
export function answer(
  method: string,
  url: string,
  snapshot: Snapshot | null,
  running: RunningConfig | null = null,
): Answer {
  const path = pathOf(url);
  const handler = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  const ofConfig = Object.hasOwn(CONFIG_ROUTES, path) ? CONFIG_ROUTES[path] : undefined;
  const changing = changeMethods(path);
  const names = namesIn(path);
  const isRead =
    handler !== undefined ||
    Object.hasOwn(QUESTIONS, path) ||
    ofConfig !== undefined ||
    (names !== null && isShown(names));
  if (!isRead && changing.length === 0) {
    return refuse(404, `there is no ${path}`, { paths: Object.values(PATHS) });
  }
  const allowed = [...(isRead ? ['GET', 'HEAD'] : []), ...changing];
  if (!allowed.includes(method)) {
    const allow = allowed.join(', ');
    return { ...refuse(405, `${method} ${path}: only ${allow.replace('GET, HEAD', 'GET')} is supported`), allow };
  }
  if (snapshot === null || (ofConfig !== undefined && running === null)) return refuse(503, 'tsvs is starting');
  try {
    if (ofConfig !== undefined) return { status: 200, body: ofConfig(running!, snapshot) };
    return handler === undefined ? show(path, snapshot) : { status: 200, body: handler(snapshot, searchOf(url)) };
  } catch (error) {
    return refusal(error);
  }
}

function refusal(error: unknown): Answer {
  if (!(error instanceof ChangeError)) return refuse(500, String(error));
  return refuse(error.status, error.message, { code: error.code, hint: error.hint });
}

/** What only the worker can say. */
const QUESTIONS: Readonly<Record<string, Questioner>> = {
  [PATHS.why]: askWhy,
  [PATHS.ports]: (_search, worker, snapshot) => askPorts(worker, snapshot.workers),
};
type Questioner = (search: string, worker: Asking, snapshot: Snapshot, config: Config) => Promise<object>;

async function question(
  url: string,
  snapshot: Snapshot | null,
  running: RunningConfig | null,
  worker: Asking | null,
): Promise<Answer> {
  if (snapshot === null || running === null || worker === null) return refuse(503, 'tsvs is starting');
  try {
    const body = await QUESTIONS[pathOf(url)]!(searchOf(url), worker, snapshot, running.config);
    return { status: 200, body };
  } catch (error) {
    return refusal(error);
  }
}

/** The answer to any request. Never throws. */
export async function respond(
  method: string,
  url: string,
  body: string,
  snapshot: Snapshot | null,
  running: RunningConfig | null,
  worker: Asking | null = null,
): Promise<Answer> {
  const path = pathOf(url);
  if (method === 'GET' && Object.hasOwn(QUESTIONS, path)) return question(url, snapshot, running, worker);
  if (method === 'GET' || !changeMethods(path).includes(method)) return answer(method, url, snapshot, running);
  if (snapshot === null || running === null) return refuse(503, 'tsvs is starting');
  if (snapshot.stats().state !== 'running') return refuse(503, 'tsvs is stopping: nothing can be changed any more');
  return change(method, path, body, running, snapshot);
}

export class ControlServer {
  readonly path: string;
  private readonly server: Server;
  private snapshot: Snapshot | null = null;
  private running: RunningConfig | null = null;
  private worker: Asking | null = null;
  private readonly captures = new Captures();
  private removeFile: () => void = () => {};
  private estimator: NodeJS.Timeout | undefined;

  private constructor(path: string) {
    this.path = path;
    this.server = createServer((request, response) => void this.handle(request, response));
  }

  /** Throws ControlSocketError when the path cannot be had. */
  static async open(path: string, mode?: number): Promise<ControlServer> {
    const control = new ControlServer(path);
    control.removeFile = await claimSocket(control.server, path, mode);
    // process.exit comes by here from wherever it is called.
    process.once('exit', control.removeFile);
    return control;
  }

  /** Starts answering from `snapshot`, changing `running`, and asking `worker`. */
  serve(snapshot: Snapshot, running: RunningConfig | null = null, worker: Asking | null = null): void {
    this.snapshot = snapshot;
    this.running = running;
    this.worker = worker;
    this.estimator = setInterval(() => snapshot.ipvs.estimate(), ESTIMATE_S * 1000).unref();
  }

  /** For a start that fails. A process that ends otherwise needs no call: the file goes with it. */
  close(): void {
    clearInterval(this.estimator);
    process.off('exit', this.removeFile);
    this.removeFile();
    this.server.close();
    this.server.closeAllConnections();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const asked = await bodyOf(request);
    if (asked === BROKEN_OFF) return;
    if (method === 'POST' && pathOf(url) === PATHS.capture) {
      const refused = await this.capture(url, response);
      if (refused !== null) this.reply(method, response, refused);
      return;
    }
    if (method === 'DELETE' && pathOf(url) === PATHS.capture) {
      const ended = this.captures.end();
      this.reply(method, response, ended ? { status: 200, body: {} } : refuse(404, 'no capture is running'));
      return;
    }
    const answered =
      asked === null
        ? refuse(413, `the body is longer than ${MAX_BODY} bytes`)
        : await respond(method, url, asked, this.snapshot, this.running, this.worker);
    this.reply(method, response, answered);
  }

  /** The body is the capture; or why there is none. */
  private async capture(url: string, response: ServerResponse): Promise<Answer | null> {
    const { snapshot, running, worker } = this;
    if (snapshot === null || running === null || worker === null) return refuse(503, 'tsvs is starting');
    try {
      await this.captures.begin(searchOf(url), response, {
        ...{ worker, config: running.config },
        names: (index) => snapshot.of(index),
      });
      return null;
    } catch (error) {
      return refusal(error);
    }
  }

  private reply(method: string, response: ServerResponse, { status, body, allow }: Answer): void {
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

/** Null when it is too long. A client that goes away has asked for nothing, not even when what came of it makes sense. */
async function bodyOf(request: IncomingMessage): Promise<string | null | typeof BROKEN_OFF> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length <= MAX_BODY) pieces.push(piece);
    }
  } catch {
    return BROKEN_OFF;
  }
  return length > MAX_BODY ? null : Buffer.concat(pieces).toString('utf8');
}
