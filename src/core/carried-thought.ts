import type { JsonObject } from './call.ts'
import { isObject, parseJson } from './wire.ts'

/*
 * Reasoning that a vendor wants back in the next turn, for a caller whose dialect has no place for that vendor's form
 * but has one for an opaque string that its callers give back as it is: the item is written into that string.
 */

const mark = 'tollgate:'
const encoder = new TextEncoder()
/** Bounds what is parsed; the largest recorded item has some 100 kB. */
const maxCarried = 4 * 1024 * 1024

/** An item of `reasoning_details` as an opaque string. */
export function carry(detail: JsonObject): string {
  return mark + JSON.stringify(detail)
}

/** Whether an opaque string is one of ours, and so means nothing to any vendor. */
export function isCarried(opaque: string): boolean {
  return opaque.startsWith(mark)
}

/**
 * What a signature of ours begins with where signatures are base64: `{"format":` of the item that it carries, the same
 * in either alphabet.
 */
const signatureHead = 'eyJmb3JtYXQiO'

/** The same for a dialect whose signatures are base64. */
export function isCarriedSignature(signature: string): boolean {
  return signature.startsWith(signatureHead)
}

/** The item in an opaque string; undefined for one that a vendor has made, or that is broken. */
export function carriedIn(opaque: string): JsonObject | undefined {
  if (!isCarried(opaque) || opaque.length > maxCarried) return undefined
  const detail = parseJson(encoder.encode(opaque.slice(mark.length)))
  return isObject(detail) ? detail : undefined
}
