import { randomInt } from 'node:crypto'
import type { Random } from '../core/draw.ts'

const steps = 2 ** 32

/** Where a call goes is no secret, but there is nothing to gain from a weaker source. */
export const systemRandom: Random = () => randomInt(steps) / steps
