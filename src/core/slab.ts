/*
 * Short-lived bytes. An array of its own for each of them costs a piece of memory outside the heap, which takes longer
 * to get and to give back than most of what is put into it; so they are cut from larger ones, as Node's own pool does.
 * No byte is handed out twice. Whoever keeps such bytes for long keeps all of their slab, and should copy them.
 */

const slabBytes = 64 * 1024
/** Larger ones would waste what is left of a slab. */
const mostBytes = slabBytes / 8

const current = { slab: new Uint8Array(slabBytes), used: 0 }

/** Bytes to be written to, all of them: what they hold before is zeros or nothing of use. */
export function slabOf(size: number): Uint8Array {
  if (size > mostBytes) return new Uint8Array(size)
  if (current.used + size > slabBytes) {
    current.slab = new Uint8Array(slabBytes)
    current.used = 0
  }
  const from = current.used
  current.used += size
  return current.slab.subarray(from, current.used)
}
