/**
 * Starts a worker thread from a TypeScript file. Node's Worker does not load `.ts` by itself, and tsx's loader, although inherited through
 * execArgv, registers its hooks in the main thread only; so the thread starts from a line of JavaScript that registers them and
 * then imports the file. Tests only; the program itself runs bundled workers.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** A worker running `file` (a file URL, e.g. `new URL('./peer.ts', import.meta.url)`). */
export function tsWorker(file: URL, workerData: unknown): Worker {
  const boot = `import { register } from '${import.meta.resolve('tsx/esm/api')}'; register(); await import('${file.href}');`;
  const options: WorkerOptions = { workerData };
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(boot)}`), options);
}

/** Resolves with the first message of the worker, rejects with its error or when it ends without one. */
export function result<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`worker ended with ${code} before it reported`)));
  });
}
