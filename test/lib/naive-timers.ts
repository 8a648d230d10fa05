/**
 * What timers mean, in the plainest form: a map from node to due time. Times count up from 0 and never wrap, the caller adds its own
 * base. Oracle of the timing wheel tests.
 */
export class NaiveTimers {
  readonly due = new Map<number, number>();
  /** Last time whose timers have fired. */
  current = 0;

  arm(node: number, at: number): void {
    this.due.set(node, Math.max(at, this.current + 1));
  }

  /** The earliest time armed, Infinity when none is. */
  next(): number {
    return Math.min(...this.due.values());
  }

  /** `node` has fired: it must have been due first, and not after `now`. Returns what is wrong, '' when nothing is. */
  fired(node: number, now: number): string {
    const at = this.due.get(node);
    if (at === undefined) return `node ${node} fired and was not armed`;
    if (at > now) return `node ${node} fired at ${now}, due ${at}`;
    if (at !== this.next()) return `node ${node} due ${at} fired before the one due ${this.next()}`;
    this.current = at;
    this.due.delete(node);
    return '';
  }
}
