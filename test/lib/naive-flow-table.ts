/** What a flow table means, in the plainest form: a Map under a limit. Oracle of the flow table tests. */
export class NaiveFlowTable {
  private readonly map = new Map<string, number>();
  private readonly limit: number;

  /** @param limit flows at most */
  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.map.size;
  }

  find(key: readonly number[]): number {
    return this.map.get(key.join()) ?? 0;
  }

  insert(key: readonly number[], value: number): boolean {
    if (!this.map.has(key.join()) && this.map.size >= this.limit) return false;
    this.map.set(key.join(), value);
    return true;
  }

  remove(key: readonly number[]): number {
    const value = this.find(key);
    this.map.delete(key.join());
    return value;
  }
}
