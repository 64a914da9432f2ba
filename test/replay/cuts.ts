import { createHash } from 'node:crypto'

/** How many places a stream is cut at: `all`, or at most so many of them. */
export type CutLimit = number | 'all'

/** A body of at most so many bytes is cut at each of them where nobody says otherwise; a longer one at 200 places. */
const wholeUpTo = 2_000
const defaultLimit = 200

/** Offsets to cut a body of `length` bytes in two at. The same name gives the same offsets. */
export function cutsOf(length: number, name: string, limit: CutLimit | undefined): readonly number[] {
  const every = Array.from({ length: Math.max(0, length - 1) }, (_, index) => index + 1)
  const most = limit ?? (length <= wholeUpTo ? 'all' : defaultLimit)
  if (most === 'all' || every.length <= most) return every
  const random = generator(createHash('sha256').update(name).digest().readUInt32BE(0))
  // The first steps of a Fisher–Yates shuffle: each set of offsets is as likely as any other.
  for (let at = 0; at < most; at++) {
    const other = at + Math.floor(random() * (every.length - at))
    const [one = 0, two = 0] = [every[at], every[other]]
    every[at] = two
    every[other] = one
  }
  return every.slice(0, most).toSorted((a, b) => a - b)
}

/** Marsaglia's xorshift32: from 0 to 1, the same numbers for the same seed. */
function generator(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
