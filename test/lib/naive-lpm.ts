/** What a prefix table means: look at all prefixes, take the longest that fits. Oracle of the prefix table tests. */
import type { LpmEntry } from '../../stack/mem/lpm.ts';

export function naiveLookup(entries: readonly LpmEntry[], addr: number): number {
  let best: LpmEntry | null = null;
  for (const e of entries) {
    const mask = e.len === 0 ? 0 : -1 << (32 - e.len);
    if (((addr ^ e.prefix) & mask) === 0 && (best === null || e.len >= best.len)) best = e;
  }
  return best?.value ?? 0;
}
