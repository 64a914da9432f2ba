import { invalidKey } from '../core/errors.ts'

/** Reads one header of the request by its lower-case name. */
export type Header = (name: string) => string | undefined

/** Longer than any key that we give out or that a person would choose. */
const maxBytes = 512
/** Printable ASCII without spaces. */
const usable = /^[\x21-\x7e]+$/
const bearer = /^bearer +(\S+)$/i
/** Where SDKs of the dialects put a bare key. */
const plainHeaders = ['x-api-key', 'x-goog-api-key', 'api-key'] as const

/**
 * The key of a request, from any header that an SDK uses, or from the address where its dialect has it there. Throws
 * `invalid_api_key` for none, two that differ, or a malformed one.
 */
export function readCredential(header: Header, inAddress?: string): string {
  const authorization = header('authorization')?.trim() || undefined
  const token = authorization === undefined ? undefined : bearer.exec(authorization)?.[1]
  // Another scheme is not skipped: it would make the caller somebody else than the header says.
  if (authorization !== undefined && token === undefined) throw invalidKey()
  const plain = plainHeaders.map((name) => header(name)?.trim() || undefined)
  const given = new Set([token, ...plain, inAddress?.trim() || undefined].filter((key) => key !== undefined))
  const [key] = given
  if (key === undefined || given.size > 1 || key.length > maxBytes || !usable.test(key)) throw invalidKey()
  return key
}
