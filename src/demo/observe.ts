/**
 * Looks into a running data plane without a line in it: a method of one object is shadowed by one that calls it and tells
 * what it saw, until the observation ends. For the demo only; the shadowed path is slow.
 */

type Method = (...args: never[]) => unknown;
type Names<T> = { [K in keyof T]: T[K] extends Method ? K : never }[keyof T];
type Fn<T, K extends keyof T> = Extract<T[K], Method>;

export class Observation {
  private readonly undo: (() => void)[] = [];

  /** Calls `before` with the arguments; what that returns, if anything, is called with the result. */
  on<T extends object, K extends Names<T>>(
    object: T,
    name: K,
    // biome-ignore lint/suspicious/noConfusingVoidType: most observers want to know of the call only
    before: (...args: Parameters<Fn<T, K>>) => ((result: ReturnType<Fn<T, K>>) => void) | void,
  ): void {
    const original = object[name] as unknown as (...args: unknown[]) => ReturnType<Fn<T, K>>;
    const shadow = (...args: Parameters<Fn<T, K>>): ReturnType<Fn<T, K>> => {
      const after = before(...args);
      const result = original.apply(object, args);
      after?.(result);
      return result;
    };
    Object.defineProperty(object, name, { value: shadow, configurable: true, writable: true });
    // Methods live on the class: without the shadow they are seen again.
    this.undo.push(() => Reflect.deleteProperty(object, name));
  }

  end(): void {
    for (const undo of this.undo) undo();
    this.undo.length = 0;
  }
}
