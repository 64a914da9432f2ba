import type { JsonObject } from '../core/call.ts'
import type { VendorRequest } from '../ports.ts'
import type { VendorAccess } from './vendor.ts'

const encoder = new TextEncoder()

export interface JsonPost {
  readonly url: string
  readonly access: VendorAccess
  readonly stream: boolean
  readonly body: JsonObject
  /** What was left out of the caller's parameters. */
  readonly dropped: readonly string[]
  /** What a stream of this vendor is; server-sent events where absent. */
  readonly streamType?: string
  /** In place of, and beside, the usual headers; lower-case names. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A request that was translated. Its key goes as a bearer token unless `headers` says how else. */
export function jsonPost({ url, access, stream, body, dropped, ...more }: JsonPost): VendorRequest {
  return {
    method: 'POST',
    url,
    headers: {
      'content-type': 'application/json',
      accept: stream ? (more.streamType ?? 'text/event-stream') : 'application/json',
      // A compressed stream comes in bursts.
      'accept-encoding': 'identity',
      ...(access.apiKey === '' ? {} : { authorization: `Bearer ${access.apiKey}` }),
      ...more.headers,
    },
    body: encoder.encode(JSON.stringify(body)),
    connectMs: access.connectMs,
    ...(dropped.length > 0 && { dropped }),
  }
}
