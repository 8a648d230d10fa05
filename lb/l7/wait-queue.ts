/**
 * First come, first served: sessions that wait for a server with room, a queue per service. Doubly linked lists over arrays
 * by session id, so that one that gives up leaves from the middle at no cost. Used by server-search.ts. @hot
 */

export class WaitQueues {
  /** By queue: first, last, and how many. 0 = none. */
  private readonly first: Int32Array;
  private readonly last: Int32Array;
  private readonly count: Int32Array;
  /** By id: the queue it is in, 0 = none, and its neighbours there. */
  private readonly queue: Int32Array;
  private readonly next: Int32Array;
  private readonly prev: Int32Array;

  /** Queues 1..queues, ids 1..ids. */
  constructor(queues: number, ids: number) {
    this.first = new Int32Array(queues + 1);
    this.last = new Int32Array(queues + 1);
    this.count = new Int32Array(queues + 1);
    this.queue = new Int32Array(ids + 1);
    this.next = new Int32Array(ids + 1);
    this.prev = new Int32Array(ids + 1);
  }

  /** Who has waited longest; 0 = nobody waits. */
  head(queue: number): number {
    return this.first[queue];
  }

  length(queue: number): number {
    return this.count[queue];
  }

  holds(id: number): boolean {
    return this.queue[id] !== 0;
  }

  /** Precondition: it is in no queue. */
  push(queue: number, id: number): void {
    const last = this.last[queue];
    this.queue[id] = queue;
    this.prev[id] = last;
    this.next[id] = 0;
    if (last === 0) this.first[queue] = id;
    else this.next[last] = id;
    this.last[queue] = id;
    this.count[queue]++;
  }

  /** Takes it out of its queue, if it is in one. */
  remove(id: number): void {
    const queue = this.queue[id];
    if (queue === 0) return;
    const prev = this.prev[id];
    const next = this.next[id];
    if (prev === 0) this.first[queue] = next;
    else this.next[prev] = next;
    if (next === 0) this.last[queue] = prev;
    else this.prev[next] = prev;
    this.queue[id] = 0;
    this.count[queue]--;
  }
}
