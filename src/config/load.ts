/**
 * The way in for the command line: text or a file to the model, or to every error in it. An invalid file yields no model, so
 * nothing starts from one.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { buildModel } from './check.ts';
import { type CfgError, ErrorList } from './error.ts';
import { combine, readFstack } from './fstack.ts';
import type { Config } from './model.ts';
import { readLbConf } from './read.ts';

/** Either the model or at least one error; warnings are one line each, ready to print. */
export type Loaded =
  | { readonly model: Config; readonly warnings: readonly string[] }
  | { readonly errors: readonly CfgError[]; readonly warnings: readonly string[] };

/** Loads lb.conf from its text; `file` is the name errors are reported under. Never throws. */
export function load(text: string, file: string): Loaded {
  const draft = readLbConf(text, file);
  const model = buildModel(draft);
  return model ? { model, warnings: [] } : { errors: draft.errors.sorted(), warnings: [] };
}

/** Loads lb.conf together with F-Stack's config.ini, which supplies local addresses, netmask and gateway. Never throws. */
export function loadWithFstack(lbText: string, lbFile: string, fstackText: string, fstackFile: string): Loaded {
  const errors = new ErrorList();
  const lb = readLbConf(lbText, lbFile, errors);
  const fstack = readFstack(fstackText, fstackFile, errors);
  const model = buildModel(combine(fstack, lb));
  const { warnings } = fstack;
  return model ? { model, warnings } : { errors: errors.sorted(), warnings };
}

/**
 * Loads lb.conf, and F-Stack's file where one is named, from disk. Never throws: a file that cannot be read is an error like
 * others. `pipes`: whether it may come out of a pipe, for which this would wait.
 */
export function loadFile(lbFile: string, fstackFile?: string, pipes = true): Loaded {
  const errors = new ErrorList();
  const lbText = readText(lbFile, errors, pipes);
  const fstackText = fstackFile === undefined ? null : readText(fstackFile, errors, pipes);
  if (!errors.empty || lbText === null) return { errors: errors.sorted(), warnings: [] };
  return fstackFile === undefined || fstackText === null
    ? load(lbText, lbFile)
    : loadWithFstack(lbText, lbFile, fstackText, fstackFile);
}

const MAX_BYTES = 16 * 1024 * 1024;

const READ_ERRORS: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['there is no such file', 'check the path; config/lb.conf is a sample to start from'],
  EACCES: ['no permission to read it', 'change its mode, or run as a user who may'],
  EISDIR: ['is a directory', 'name a file'],
  ENOTDIR: ['part of the path is not a directory', 'check the path'],
};

/**
 * The text of a file, or null after complaining. Bytes that are not UTF-8 become U+FFFD: comments in an older encoding do no harm, and
 * no key or value may contain it.
 */
function readText(file: string, errors: ErrorList, pipes: boolean): string | null {
  const where = { file, line: 0, column: 0, section: '', key: '' };
  let fd = -1;
  try {
    fd = openSync(file, constants.O_RDONLY | (pipes ? 0 : constants.O_NONBLOCK));
    const kind = fstatSync(fd);
    if (kind.isFile() || kind.isDirectory() || (pipes && kind.isFIFO())) {
      const bytes = readUpTo(fd, MAX_BYTES + 1);
      if (bytes.length <= MAX_BYTES) return bytes.toString('utf8');
      errors.add(where, 'is too large', 'a configuration has at most 16 MiB');
    } else errors.add(where, `is a ${kind.isFIFO() ? 'pipe' : 'device'}`, 'name a file');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const [what, hint] = READ_ERRORS[code] ?? [`cannot be read: ${message}`, ''];
    errors.add(where, what, hint);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
  return null;
}

/** The bytes of an open file, at most so many of them. Throws as readSync does. */
function readUpTo(fd: number, most: number): Buffer {
  const pieces: Buffer[] = [];
  let length = 0;
  for (let n = -1; n !== 0 && length < most; length += n) {
    const piece = Buffer.allocUnsafe(Math.min(65536, most - length));
    n = readSync(fd, piece);
    pieces.push(piece.subarray(0, n));
  }
  return Buffer.concat(pieces);
}
