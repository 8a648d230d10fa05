/**
 * Splits a command line into options and arguments, as popt does for the real tool: long names in full only, letters combined, a value
 * in the same word (`-s=rr`, `-srr`, `--scheduler=rr`) or in the next one even where that begins with a dash, an optional value only
 * where the next word does not, `--` ends the options.
 */
import { CommandError, EXIT_REFUSED } from './command-error.ts';
import { type Option, optionsOf } from './options.ts';

export interface ScannedOption {
  readonly option: Option;
  /** Null where the option has no argument, or its optional one is missing. */
  readonly value: string | null;
  /** The word it was found in, for messages. */
  readonly word: string;
}

export class Scanner {
  /** The words that are no options, in order. */
  readonly rest: string[] = [];
  readonly #words: readonly string[];
  #next = 0;
  /** Letters of a word like `-Ln` that are still to be read. */
  #letters = '';
  #optionsEnded = false;
  #options: readonly Option[] = optionsOf(null);

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  /** From now on letters mean what they mean to this command. */
  knows(commandName: string): void {
    this.#options = optionsOf(commandName);
  }

  /** The next option, or null at the end. Throws CommandError for what is none. */
  next(): ScannedOption | null {
    while (this.#letters === '') {
      const word = this.#words[this.#next];
      if (word === undefined) return null;
      this.#next++;
      if (this.#optionsEnded || !word.startsWith('-') || word === '-') this.rest.push(word);
      else if (word === '--') this.#optionsEnded = true;
      else if (word.startsWith('--')) return this.#longOption(word.slice(2));
      else this.#letters = word.slice(1);
    }
    return this.#shortOption();
  }

  #longOption(text: string): ScannedOption {
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    const option = this.#options.find(({ long }) => long === name);
    if (option === undefined) throw this.#error('unknown option');
    return this.#withValue(option, equals < 0 ? null : text.slice(equals + 1));
  }

  #shortOption(): ScannedOption {
    const letter = this.#letters.charAt(0);
    this.#letters = this.#letters.slice(1);
    const option = this.#options.find(({ short }) => short === letter);
    if (option === undefined) throw this.#error('unknown option');
    if (option.arg === 'none') return this.#withValue(option, this.#letters.startsWith('=') ? this.#letters : null);
    const attached = this.#letters === '' ? null : this.#letters.replace(/^=/, '');
    this.#letters = '';
    return this.#withValue(option, attached);
  }

  #withValue(option: Option, attached: string | null): ScannedOption {
    if (option.arg === 'none') {
      if (attached !== null) throw this.#error('option does not take an argument');
      return { option, value: null, word: this.#word() };
    }
    const value = attached ?? this.#following(option);
    if (option.arg === 'integer' && !/^[+-]?\d+$/.test(value ?? '')) throw this.#error('invalid numeric value');
    return { option, value, word: this.#word() };
  }

  #following(option: Option): string | null {
    const word = this.#words[this.#next];
    if (option.arg === 'optional' && (word === undefined || word.startsWith('-'))) return null;
    if (word === undefined) throw this.#error('missing argument');
    this.#next++;
    return word;
  }

  #word(): string {
    return this.#words[this.#next - 1] ?? '';
  }

  #error(what: string): CommandError {
    this.#letters = '';
    return new CommandError(EXIT_REFUSED, `${this.#word()}: ${what}`, false);
  }
}
