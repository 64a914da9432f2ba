import type { Call, Target } from '../core/call.ts'
import type { VendorRequest } from '../ports.ts'
import { createReader, readReply, troubles } from './anthropic-answer.ts'
import { countedBody, passedBody } from './anthropic-passing.ts'
import { translate } from './anthropic-request.ts'
import { failureOf } from './failure.ts'
import { steadyReader } from './steady.ts'
import type { Vendor, VendorAccess } from './vendor.ts'

/** The version of the vendor's interface that the translation is written for. */
const version = '2023-06-01'
/** What of a request counting takes; anything else it refuses. */
const counted: ReadonlySet<string> = new Set([
  'model',
  'system',
  'messages',
  'tools',
  'tool_choice',
  'thinking',
  'output_config',
])
const encoder = new TextEncoder()

/** Anthropic's messages: https://platform.claude.com/docs/en/api/messages. */
export const anthropic: Vendor = {
  id: 'anthropic',
  speaks: ['messages'],
  request,
  reader: (options) => (options.translates ? createReader(options) : steadyReader(() => createReader(options), [])),
  reply: readReply,
  counting: { request: countRequest, tokens: ({ input_tokens: tokens }) => (isCount(tokens) ? tokens : undefined) },
  failure: (head, body) => failureOf(head, body, troubles),
}

function isCount(tokens: unknown): tokens is number {
  return typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens >= 0
}

function passes(call: Call): boolean {
  return anthropic.speaks.includes(call.dialect)
}

// oxlint-disable-next-line max-params -- the contract of Vendor
function request(call: Call, target: Target, access: VendorAccess, stream: boolean): VendorRequest {
  const post = { path: '/messages', call, access, accept: stream ? 'text/event-stream' : 'application/json' }
  if (passes(call)) return posted({ ...post, body: passedBody(call, target, stream) })
  const { body, dropped } = translate(call, target, stream)
  return { ...posted({ ...post, body: encoder.encode(JSON.stringify(body)) }), ...(dropped.length > 0 && { dropped }) }
}

/** What a prompt counts here, which the vendor does for nothing. */
function countRequest(call: Call, target: Target, access: VendorAccess): VendorRequest {
  const post = { path: '/messages/count_tokens', call, access, accept: 'application/json' }
  if (passes(call)) return posted({ ...post, body: countedBody(call, target) })
  const { body } = translate(call, target, false)
  const read = Object.fromEntries(Object.entries(body).filter(([name]) => counted.has(name)))
  return posted({ ...post, body: encoder.encode(JSON.stringify(read)) })
}

interface Post {
  readonly path: string
  readonly call: Call
  readonly access: VendorAccess
  readonly accept: string
  readonly body: Uint8Array
}

function posted({ path, call, access, accept, body }: Post): VendorRequest {
  const own = passes(call) ? call.headers : undefined
  // Its SDKs send both for what is still in trial.
  const query = own?.['anthropic-beta'] === undefined ? '' : '?beta=true'
  return {
    method: 'POST',
    url: `${access.baseUrl}${path}${query}`,
    headers: {
      'content-type': 'application/json',
      accept,
      // A compressed stream comes in bursts, and its bytes could not be passed on as they are.
      'accept-encoding': 'identity',
      'anthropic-version': version,
      ...own,
      ...(access.apiKey === '' ? {} : { 'x-api-key': access.apiKey }),
    },
    body,
    connectMs: access.connectMs,
  }
}
