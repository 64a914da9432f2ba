import type { Call, Json, JsonObject } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import { members, setMember, type Member } from '../core/json-bytes.ts'
import type { VendorRequest } from '../ports.ts'
import { chatBody } from './openai-inner.ts'
import { readableMessages } from './openai-messages.ts'
import { ownFields } from './own-fields.ts'
import type { Quirks } from './quirks.ts'
import type { VendorAccess } from './vendor.ts'

const encoder = new TextEncoder()
const yes = encoder.encode('true')
const no = encoder.encode('false')
const usageAsked = encoder.encode('{"include_usage":true}')

/** The body by which a vendor decides whether it must stream. */
export function chatOf(quirks: Quirks, call: Call, model: string): JsonObject {
  return call.dialect === 'chat' ? call.body : chatBody(quirks, call.inner, model).body
}

export interface Asked {
  readonly model: string
  readonly access: VendorAccess
  readonly stream: boolean
}

export function compatibleRequest(quirks: Quirks, call: Call, { model, access, stream }: Asked): VendorRequest {
  const { raw, messages, dropped } = chatBytes(quirks, call, model)
  const key = quirks.keyHeaders?.(access.apiKey) ?? { authorization: `Bearer ${access.apiKey}` }
  return {
    method: 'POST',
    url: quirks.url?.(access, model) ?? `${access.baseUrl}/chat/completions`,
    headers: {
      'content-type': 'application/json',
      accept: stream ? 'text/event-stream' : 'application/json',
      // A compressed stream comes in bursts, and its bytes could not be passed on as they are.
      'accept-encoding': 'identity',
      ...(access.apiKey === '' ? {} : key),
    },
    body: requestBody(quirks, raw, { model, stream, messages }),
    connectMs: access.connectMs,
    ...(dropped.length > 0 && { dropped }),
  }
}

interface ChatBytes {
  readonly raw: Uint8Array
  /** In place of those in `raw`, where this vendor could not read them. */
  readonly messages: readonly Json[] | undefined
  readonly dropped: readonly string[]
}

/** The request as a chat completion: the caller's own bytes, or what another dialect has become. */
function chatBytes(quirks: Quirks, { dialect, raw, inner }: Call, model: string): ChatBytes {
  const messages = readableMessages(inner['messages'], quirks)
  if (dialect === 'chat') return { raw, messages, dropped: [] }
  const { body, dropped } = chatBody(quirks, messages ? { ...inner, messages } : inner, model)
  return { raw: encoder.encode(JSON.stringify(body)), messages: undefined, dropped }
}

/** The bytes of a chat completion with other values for a few members; `undefined` takes a member out. One scan, one copy. */
function requestBody(
  quirks: Quirks,
  raw: Uint8Array,
  { model, stream, messages }: Pick<Asked, 'model' | 'stream'> & Pick<ChatBytes, 'messages'>,
): Uint8Array {
  const all = members(raw)
  const last = new Map(all.map((member) => [member.name, member]))
  const changes = new Map<string, Uint8Array | undefined>()
  for (const name of ownFields) if (!quirks.keeps?.includes(name)) changes.set(name, undefined)
  for (const [name, theirs] of Object.entries(quirks.renames ?? {})) {
    const member = last.get(name)
    if (!member) continue
    changes.set(name, undefined)
    if (!last.has(theirs)) changes.set(theirs, raw.subarray(member.valueStart, member.valueEnd))
  }
  if (messages) changes.set('messages', encoder.encode(JSON.stringify(messages)))
  changes.set('model', encoder.encode(JSON.stringify(model)))
  if (stream || last.has('stream')) changes.set('stream', stream ? yes : no)
  changes.set(
    'stream_options',
    stream && !quirks.refusesStreamOptions ? askUsage(raw, last.get('stream_options')) : undefined,
  )
  return rebuild(raw, all, changes)
}

/** The caller's stream options, with usage asked for: without it most vendors send none, and we would have to count. */
function askUsage(raw: Uint8Array, options: Member | undefined): Uint8Array {
  if (!options || raw[options.valueStart] !== 0x7b) return usageAsked
  return setMember(raw.subarray(options.valueStart, options.valueEnd), 'include_usage', yes)
}

/** Writes the object anew from its own bytes. Of a changed member given twice, the last one stays. */
function rebuild(
  raw: Uint8Array,
  all: readonly Member[],
  changes: ReadonlyMap<string, Uint8Array | undefined>,
): Uint8Array {
  const lastIndex = new Map(all.map((member, index) => [member.name, index]))
  const kept = all.filter((member, index) => {
    return !changes.has(member.name) || (changes.get(member.name) && lastIndex.get(member.name) === index)
  })
  const parts: Uint8Array[] = [raw.subarray(0, all[0]?.start ?? raw.lastIndexOf(0x7d))]
  const comma = encoder.encode(',')
  for (const [index, member] of kept.entries()) {
    if (index > 0) parts.push(comma)
    parts.push(raw.subarray(member.start, member.valueStart))
    parts.push(changes.get(member.name) ?? raw.subarray(member.valueStart, member.valueEnd))
    parts.push(raw.subarray(member.valueEnd, member.end))
  }
  let separator = kept.length > 0 ? ',' : ''
  for (const [name, value] of changes) {
    if (!value || lastIndex.has(name)) continue
    parts.push(encoder.encode(`${separator}${JSON.stringify(name)}:`), value)
    separator = ','
  }
  parts.push(raw.subarray(all.at(-1)?.end ?? raw.lastIndexOf(0x7d)))
  return concat(parts)
}
