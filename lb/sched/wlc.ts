/** Weighted least connections: the lowest load per weight; of equals the first in the list. */

import { leastWeighted } from './load.ts';
import { stateless } from './stateless.ts';

export const wlc = stateless('wlc', 'weighted least connections: the fewest per weight', leastWeighted);
