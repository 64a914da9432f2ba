import type { Call, Json, JsonObject } from '../core/call.ts'
import { members, removeMembers, setMember, type Member } from '../core/json-bytes.ts'
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

/** The bytes of a chat completion with other values for a few members. What need not change is not copied. */
function requestBody(
  quirks: Quirks,
  raw: Uint8Array,
  { model, stream, messages }: Pick<Asked, 'model' | 'stream'> & Pick<ChatBytes, 'messages'>,
): Uint8Array {
  const last = new Map(members(raw).map((member) => [member.name, member]))
  const gone = ownFields.filter((name) => last.has(name) && !quirks.keeps?.includes(name))
  const added = new Map<string, Uint8Array>()
  for (const [name, theirs] of Object.entries(quirks.renames ?? {})) {
    const member = last.get(name)
    if (!member) continue
    gone.push(name)
    if (!last.has(theirs)) added.set(theirs, raw.subarray(member.valueStart, member.valueEnd))
  }
  if (messages) added.set('messages', encoder.encode(JSON.stringify(messages)))
  added.set('model', encoder.encode(JSON.stringify(model)))
  if (stream || last.has('stream')) added.set('stream', stream ? yes : no)
  if (stream && !quirks.refusesStreamOptions) added.set('stream_options', askUsage(raw, last.get('stream_options')))
  else if (last.has('stream_options')) gone.push('stream_options')
  return edited(raw, gone, added)
}

function edited(raw: Uint8Array, gone: readonly string[], added: ReadonlyMap<string, Uint8Array>): Uint8Array {
  let bytes = gone.length > 0 ? removeMembers(raw, gone) : raw
  for (const [name, value] of added) if (!has(bytes, name, value)) bytes = setMember(bytes, name, value)
  return bytes
}

/** Whether there is one such member, with these bytes for a value. */
function has(bytes: Uint8Array, name: string, value: Uint8Array): boolean {
  const named = members(bytes).filter((member) => member.name === name)
  const [member] = named
  if (!member || named.length > 1 || member.valueEnd - member.valueStart !== value.length) return false
  return value.every((byte, at) => bytes[member.valueStart + at] === byte)
}

/** The caller's stream options, with usage asked for: without it most vendors send none, and we would have to count. */
function askUsage(raw: Uint8Array, options: Member | undefined): Uint8Array {
  if (!options || raw[options.valueStart] !== 0x7b) return usageAsked
  return setMember(raw.subarray(options.valueStart, options.valueEnd), 'include_usage', yes)
}
