import type { Call, JsonObject, Target } from '../core/call.ts'
import type { VendorRequest } from '../ports.ts'
import { failureOf, type TroubleRule } from './failure.ts'
import { jsonPost } from './json-post.ts'
import { createResponsesReader, readResponse } from './openai-responses-answer.ts'
import { passedBody, responsesBody } from './openai-responses-request.ts'
import type { Quirks } from './quirks.ts'
import type { Vendor, VendorAccess } from './vendor.ts'

/*
 * OpenAI's Responses API: https://platform.openai.com/docs/api-reference/responses. Vendors that have it beside chat
 * completions serve its callers with their own bytes; all others are served from chat completions.
 */

/** What sets one vendor's Responses API apart. */
export interface ResponsesQuirks extends Pick<Quirks, 'keyHeaders' | 'keeps'> {
  /** Where it is; `/responses` under the base URL where absent. */
  responsesUrl?(access: VendorAccess): string
  readonly troubles?: readonly TroubleRule[]
  /** What the reasoning that it has encrypted itself looks like; absent: it takes whatever it is given. */
  readonly seal?: RegExp
}

/** What OpenAI encrypts, and Azure for it, is a token of the Fernet scheme, whose first byte is its version. */
export const openaiSeal = /^gAAAA/

interface Posted {
  readonly access: VendorAccess
  readonly stream: boolean
  readonly body: Uint8Array
}

function posted(quirks: ResponsesQuirks, { access, stream, body }: Posted): VendorRequest {
  const headers = access.apiKey === '' ? undefined : quirks.keyHeaders?.(access.apiKey)
  const url = quirks.responsesUrl?.(access) ?? `${access.baseUrl}/responses`
  const bearer = headers ? { ...access, apiKey: '' } : access
  return { ...jsonPost({ url, access: bearer, stream, body: {}, dropped: [], ...(headers && { headers }) }), body }
}

function isResponses({ dialect }: Call): boolean {
  return dialect === 'responses'
}

/** A vendor of chat completions that has the Responses API too: callers of that one get its own bytes. */
export function withResponses(vendor: Vendor, quirks: ResponsesQuirks = {}): Vendor {
  const { troubles = [], keeps, seal } = quirks
  const { streamOnly } = vendor
  return {
    ...vendor,
    speaks: [...vendor.speaks, 'responses'],
    ...(streamOnly && {
      streamOnly: (call: Call, target: Target) => !isResponses(call) && streamOnly(call, target),
    }),
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request(call, target, access, stream) {
      if (!isResponses(call)) return vendor.request(call, target, access, stream)
      return posted(quirks, { access, stream, body: passedBody(call, { model: target.model, stream, keeps, seal }) })
    },
    reader: (options) =>
      isResponses(options.call) ? createResponsesReader(troubles, options) : vendor.reader(options),
    reply: (body, options) =>
      isResponses(options.call) ? readResponse(troubles, body, options) : vendor.reply(body, options),
  }
}

const encoder = new TextEncoder()

function encoded(body: JsonObject): Uint8Array {
  return encoder.encode(JSON.stringify(body))
}

/** OpenAI's models that answer at its Responses API alone, for callers of every dialect. */
export const openaiResponses: Vendor = {
  id: 'openai-responses',
  speaks: ['responses'],
  // oxlint-disable-next-line max-params -- the contract of Vendor
  request(call, { model }, access, stream) {
    if (isResponses(call))
      return posted({}, { access, stream, body: passedBody(call, { model, stream, seal: openaiSeal }) })
    const { body, dropped } = responsesBody(call, { model, stream })
    return { ...posted({}, { access, stream, body: encoded(body) }), ...(dropped.length > 0 && { dropped }) }
  },
  reader: (options) => createResponsesReader([], options),
  reply: (body, options) => readResponse([], body, options),
  failure: (head, body) => failureOf(head, body, []),
}
