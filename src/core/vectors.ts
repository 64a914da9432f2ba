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
  return base64OfBytes(bytes)
}

export function bytesOfBase64(base64: string): Uint8Array | undefined {
  let binary: string
  try {
    binary = atob(base64)
  } catch {
    return undefined // The caller of this function says what bad base64 means at its place.
  }
  const bytes = new Uint8Array(binary.length)
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at)
  return bytes
}

/** Arguments of one call of a function: engines allow some ten thousand. */
const chunkBytes = 8_192

function base64OfBytes(bytes: Uint8Array): string {
  let binary = ''
  for (let at = 0; at < bytes.length; at += chunkBytes)
    binary += String.fromCharCode(...bytes.subarray(at, at + chunkBytes))
  return btoa(binary)
}
