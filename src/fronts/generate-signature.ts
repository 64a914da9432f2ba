import type { JsonObject } from '../core/call.ts'
import { isObject, parseJson, stringOf } from '../core/wire.ts'

/*
 * A part of Gemini's has one place for what a model wants back in the next turn: `thoughtSignature`, bytes in base64.
 * Signatures of Gemini's own go there as they are. What another vendor's model wants back goes there as JSON, with the
 * name of the vendor's format in it, and comes out of it again byte for byte, also where an SDK has written the base64
 * anew in the alphabet for URLs.
 */

/** Google's own. */
export const googleFormat = 'gemini'

/** The longest signature that is looked into; recorded ones have up to 10,000 characters. */
const maxLength = 8 * 1024 * 1024
/** What our JSON begins with, so that Google's bytes are not taken for it. */
const head = '{"format":"'
const chunkBytes = 8192
const encoder = new TextEncoder()

/** The signature of an item of `reasoning_details`; '' where it has nothing to come back. */
export function signatureOf(item: JsonObject): string {
  const { index: _, format, ...rest } = item
  if (format === googleFormat) return stringOf(item['data']) || stringOf(item['signature'])
  if (typeof format !== 'string') return ''
  return toBase64(encoder.encode(JSON.stringify({ format, ...rest })))
}

/** The item that a signature of ours holds; undefined for one of Google's own. */
export function itemIn(signature: string): JsonObject | undefined {
  if (signature.length > maxLength) return undefined
  const bytes = fromBase64(signature)
  if (!bytes || new TextDecoder().decode(bytes.subarray(0, head.length)) !== head) return undefined
  const item = parseJson(bytes)
  return isObject(item) ? item : undefined
}

function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    text += String.fromCharCode(...bytes.subarray(at, at + chunkBytes))
  }
  return btoa(text)
}

function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0))
  } catch {
    return undefined // No base64, so none of ours.
  }
}
