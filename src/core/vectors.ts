import { fromBase64, toBase64 } from './base64.ts'

/** Embeddings as lists of numbers, and as OpenAI's base64: the same as 32-bit floats, little-endian. */

const floatBytes = 4

/** Undefined for a text that is no base64 of whole floats. */
export function floatsOf(base64: string): number[] | undefined {
  const bytes = bytesOfBase64(base64)
  if (!bytes || bytes.length % floatBytes !== 0) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const floats = Array.from({ length: bytes.length / floatBytes }, (_, at) => view.getFloat32(at * floatBytes, true))
  // JSON has no words for the others.
  return floats.every(Number.isFinite) ? floats : undefined
}

export function base64OfFloats(floats: readonly number[]): string {
  const bytes = new Uint8Array(floats.length * floatBytes)
  const view = new DataView(bytes.buffer)
  for (const [at, float] of floats.entries()) view.setFloat32(at * floatBytes, float, true)
  return toBase64(bytes)
}

/** Undefined for a text that is no base64. */
export function bytesOfBase64(base64: string): Uint8Array | undefined {
  try {
    return fromBase64(base64)
  } catch {
    return undefined // The caller of this function says what bad base64 means at its place.
  }
}
