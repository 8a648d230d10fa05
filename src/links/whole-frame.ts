/**
 * What a link without offloads and without scatter can send: frames in one piece, their checksums complete. Netif brings them
 * into this shape; what is not in it is a fault of its. Called by the drivers, for each frame. @hot
 */
import { LINK_ERROR, OVERSIZE, RUNT } from '../../stack/drop.ts';
import { F_CSUM_PARTIAL, type FramePool, GSO_NONE } from '../../stack/mem/frame-pool.ts';
import type { FrameId } from '../../stack/types.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';

/** Why a link that takes `maxFrame` bytes cannot send the frame: RUNT, OVERSIZE, or LINK_ERROR for one that is not whole; 0 when it can. */
export function objectionTo(pool: FramePool, f: FrameId, maxFrame: number): number {
  const length = pool.wireLength(f);
  if (length < ETH_LEN) return RUNT;
  if (pool.gsoType[f] !== GSO_NONE) return LINK_ERROR;
  if (length > maxFrame) return OVERSIZE;
  return (pool.flags[f]! & F_CSUM_PARTIAL) !== 0 || pool.frag[f] !== 0 ? LINK_ERROR : 0;
}
