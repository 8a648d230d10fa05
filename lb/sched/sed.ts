/**
 * Shortest expected delay: the least (established + 1) / weight. Unlike wlc it counts the connection to come, so fast
 * servers fill up first while there is little to do; connections being opened or closed do not count.
 */

import { shortestDelay } from './load.ts';
import { stateless } from './stateless.ts';

export const sed = stateless('sed', 'shortest expected delay: the least (established + 1) / weight', shortestDelay);
