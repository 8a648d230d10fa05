/**
 * Fixed layouts of messages: which named field stands in which int32 words of a record. Cold: plain objects in, plain objects out.
 * Types and layouts are declared by those who speak to each other; nothing here knows what they mean.
 *
 *   const ADD_ROUTE = layout(7, { prefix: 'i32', len: 'i32', nextHop: 'i32', sinceUs: 'f64', gateway6: 4 });
 */
import { demand } from '../mem/block.ts';

/** 'i32': one word. 'f64': a double in two words (times in us, byte counts). A number n: n words as Int32Array (4: an IPv6 address). */
export type FieldKind = 'i32' | 'f64' | number;

type Value<K extends FieldKind> = K extends number ? Int32Array : number;
/** The fields of a message as an object. */
export type Fields<S extends Record<string, FieldKind>> = { readonly [N in keyof S]: Value<S[N]> };

export type Layout<S extends Record<string, FieldKind> = Record<string, FieldKind>> = {
  /** 1..65535. */
  readonly type: number;
  readonly fields: S;
  /** Words all fields take. */
  readonly words: number;
};

/** Declares messages of `type`: fields stand in the order in which they are named. */
export function layout<const S extends Record<string, FieldKind>>(type: number, fields: S): Layout<S> {
  demand(Number.isInteger(type) && type > 0 && type <= 0xffff, `message type ${type}`);
  let words = 0;
  for (const kind of Object.values(fields)) words += wordsOf(kind);
  return { type, fields, words };
}

/** Stores `values` in the words from `rec[off]`. */
export function encode<S extends Record<string, FieldKind>>(
  { fields }: Layout<S>,
  values: Fields<S>,
  rec: Int32Array,
  off: number,
): void {
  let at = off;
  for (const [name, kind] of Object.entries(fields)) {
    const value = values[name] as number | Int32Array;
    if (typeof value === 'number') {
      if (kind === 'f64') rec.set(halves(value), at);
      else rec[at] = value;
    } else {
      demand(value.length === kind, `field ${name} has ${value.length} words, not ${kind}`);
      rec.set(value, at);
    }
    at += wordsOf(kind);
  }
}

/** The fields that stand in the words from `rec[off]`. Arrays are copies. */
export function decode<S extends Record<string, FieldKind>>(
  { fields }: Layout<S>,
  rec: Int32Array,
  off: number,
): Fields<S> {
  const values: Record<string, number | Int32Array> = {};
  let at = off;
  for (const [name, kind] of Object.entries(fields)) {
    const words = rec.slice(at, at + wordsOf(kind));
    if (kind === 'i32') values[name] = words[0];
    else if (kind === 'f64') values[name] = new Float64Array(words.buffer)[0];
    else values[name] = words;
    at += wordsOf(kind);
  }
  return values as Fields<S>;
}

function wordsOf(kind: FieldKind): number {
  return kind === 'i32' ? 1 : kind === 'f64' ? 2 : kind;
}

function halves(value: number): Int32Array {
  return new Int32Array(Float64Array.of(value).buffer);
}
