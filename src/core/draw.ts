/** Numbers from 0 up to but not at 1. */
export type Random = () => number

/**
 * A number from 0 up to 1 that a text always gives: FNV-1a with an avalanche behind it, so that texts that differ in
 * one character are as far apart as any. For choosing among targets, not for secrets.
 */
export function drawOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
