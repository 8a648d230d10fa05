/**
 * The rules of the layers, as functions over source text: which imports point the wrong way, which ambient things a
 * pure layer reaches for, and whether a file says what it is for. Used by imports.test.ts.
 */
import { posix } from 'node:path';
import { transform } from 'esbuild';

/** What each layer may import: paths below these folders; npm and node only where `packages` says so. */
const LAYERS = {
  stack: { folders: ['stack/'], packages: false },
  lb: { folders: ['stack/', 'lb/'], packages: false },
  src: { folders: ['stack/', 'lb/', 'src/'], packages: true },
} as const;

export type Layer = keyof typeof LAYERS;
export const LAYER_NAMES = Object.keys(LAYERS) as Layer[];

/** Time, randomness, the host and its event loop: stack/ and lb/ get what they need of these as arguments. */
const AMBIENT = [
  'Buffer',
  'Date',
  'Math.random',
  'clearInterval',
  'clearTimeout',
  'console',
  'crypto',
  'fetch',
  'global',
  'globalThis',
  'performance',
  'process',
  'queueMicrotask',
  'require',
  'setImmediate',
  'setInterval',
  'setTimeout',
];

const IMPORTS = [
  /^\s*(?:import|export)\s+(?:type\s+)?(?:[\w$]+\s*,?\s*)?(?:\{[^}]*\}|\*(?:\s+as\s+[\w$]+)?)?\s*from\s*(['"])(.+?)\1/gm,
  /^\s*import\s*(['"])(.+?)\1/gm,
  /\bimport\s*\(\s*(['"])(.+?)\1/g,
];

/** Every module that `source` names, static, dynamic, for types or for values. */
export function importsOf(source: string): string[] {
  return IMPORTS.flatMap((pattern) => [...source.matchAll(pattern)].map((match) => match[2] as string));
}

/** Where a relative import of `file` leads, from the project's root; undefined for a package or a `node:` module. */
export function targetOf(file: string, specifier: string): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : undefined;
}

/** The imports of `file` that its layer forbids, each as a sentence. */
export function wrongImports(layer: Layer, file: string, source: string): string[] {
  const { folders, packages } = LAYERS[layer];
  const wrong: string[] = [];
  for (const specifier of importsOf(source)) {
    const target = targetOf(file, specifier);
    const allowed = target === undefined ? packages : folders.some((folder) => target.startsWith(folder));
    if (!allowed) wrong.push(`${file} imports ${specifier}: ${layer} may import ${folders.join(', ')} only`);
    else if (target !== undefined && crossesProxy(file, target)) {
      wrong.push(`${file} imports ${specifier}: layer 4 and layer 7 know each other only in lb/splice.ts`);
    }
  }
  return wrong;
}

const isLayer4 = (file: string): boolean => /^lb\/(conn|xmit)/.test(file);
const isLayer7 = (file: string): boolean => file.startsWith('lb/l7/');

function crossesProxy(file: string, target: string): boolean {
  return (isLayer4(file) && isLayer7(target)) || (isLayer7(file) && isLayer4(target));
}

/**
 * The ambient names that `source` really uses. esbuild replaces exactly the unbound ones, so that a local variable,
 * a property or a comment of the same name is no offence.
 */
export async function ambientNames(source: string): Promise<string[]> {
  const define = Object.fromEntries(AMBIENT.map((name, i) => [name, `ambient_${i}_`]));
  const { code } = await transform(source, { loader: 'ts', define, logLevel: 'silent' });
  return AMBIENT.filter((_, i) => code.includes(`ambient_${i}_`));
}

/** True when the file opens with a doc comment (a `#!` line may stand above it). */
export function hasHead(source: string): boolean {
  return /^(#!.*\n)?\/\*\*\s*(\*\s*)?[^\s*/]/.test(source);
}

/** True for names that say nothing of what a file is for. */
export function isNameless(file: string): boolean {
  return /(^|\/)(utils?|common|helpers?|misc)(\.[^/]*)?(\/|$)/.test(file);
}
