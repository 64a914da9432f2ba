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
  let key = token
  for (const given of [...plainHeaders.map((name) => header(name)), inAddress]) {
    const other = given?.trim() || undefined
    if (key !== undefined && other !== undefined && other !== key) throw invalidKey()
    key ??= other
  }
  if (key === undefined || key.length > maxBytes || !usable.test(key)) throw invalidKey()
  return key
}
