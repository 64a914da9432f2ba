import { GatewayError } from '../core/errors.ts'
import { onceForLasting } from '../core/once-for.ts'
import type { Vendor } from '../vendors/vendor.ts'

/** Shorter keys are placeholders, and taking them out would tear holes into plain words. */
const shortestKey = 8
const mask = '[redacted]'

/**
 * The vendor, but whatever it says of an error is without our key. Adapters take out what looks like a credential;
 * only here is known what the credential is, and not every vendor's keys look like one.
 */
export function hideKey(vendor: Vendor, apiKey: string): Vendor {
  if (apiKey.length < shortestKey) return vendor
  const known = hidden(vendor)
  const before = known.get(apiKey)
  if (before) return before
  const made = hiding(vendor, apiKey)
  // Each call asks for it, with one of a few keys.
  if (known.size >= mostKeys) known.clear()
  known.set(apiKey, made)
  return made
}

const mostKeys = 1_000
const hidden = onceForLasting((_: Vendor) => new Map<string, Vendor>())

function hiding(vendor: Vendor, apiKey: string): Vendor {
  const clean = (error: GatewayError): GatewayError => withoutKey(error, apiKey)
  return {
    ...vendor,
    reader(options) {
      const read = vendor.reader(options)
      return (event) => {
        const piece = read(event)
        return piece.error ? { ...piece, error: clean(piece.error) } : piece
      }
    },
    reply(body, options) {
      const reply = vendor.reply(body, options)
      return reply.error ? { ...reply, error: clean(reply.error) } : reply
    },
    failure(head, body) {
      const failure = vendor.failure(head, body)
      return { ...failure, error: clean(failure.error) }
    },
  }
}

function withoutKey(error: GatewayError, apiKey: string): GatewayError {
  const { code, message, param, vendorCode, retryAfterMs, status, cause } = error
  if (![message, param, vendorCode].some((text) => text?.includes(apiKey))) return error
  return new GatewayError(code, message.replaceAll(apiKey, mask), {
    status,
    cause,
    ...(param !== undefined && { param: param.replaceAll(apiKey, mask) }),
    ...(vendorCode !== undefined && { vendorCode: vendorCode.replaceAll(apiKey, mask) }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })
}
