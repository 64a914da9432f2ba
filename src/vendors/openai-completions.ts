import type { Call, JsonObject } from '../core/call.ts'
import { removeMembers, setMember, setNested } from '../core/json-bytes.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, parseJson } from '../core/wire.ts'
import type { VendorRequest } from '../ports.ts'
import { jsonPost } from './json-post.ts'
import { openaiCompatible } from './openai.ts'
import { ownFields } from './own-fields.ts'
import { cannot } from './parameters.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess, VendorReply } from './vendor.ts'

/*
 * OpenAI's completions of a prompt: https://platform.openai.com/docs/api-reference/completions. Usage, errors and ends
 * are told as in chat completions, and so they are read as the chunks of one.
 */

const encoder = new TextEncoder()

interface Asked {
  readonly model: string
  readonly access: VendorAccess
  readonly stream: boolean
}

/** The caller's own bytes: another model, no options of ours, a stream where we want one, and its usage. */
function request({ raw, body }: Call, { model, access, stream }: Asked): VendorRequest {
  const named = setMember(removeMembers(raw, ownFields), 'model', encoder.encode(JSON.stringify(model)))
  const isSaid = body['stream'] !== undefined || stream
  const streamed = isSaid ? setMember(named, 'stream', encoder.encode(JSON.stringify(stream))) : named
  const isAsked = isObject(body['stream_options']) || body['stream_options'] === null
  const plain = stream && isAsked ? streamed : removeMembers(streamed, ['stream_options'])
  const whole = stream ? setNested(plain, ['stream_options', 'include_usage'], encoder.encode('true')) : plain
  return { ...jsonPost({ url: `${access.baseUrl}/completions`, access, stream, body: {}, dropped: [] }), body: whole }
}

/** Choices of a completion as those of a conversation. */
function asChat(body: JsonObject, member: 'delta' | 'message'): JsonObject {
  if (body['choices'] === undefined) return body
  const choices = objectsOf(body['choices']).map(({ text, logprobs: _, ...choice }) => ({
    ...choice,
    [member]: { content: text ?? null },
  }))
  return { ...body, choices }
}

function reader(vendor: Vendor, options: ReaderOptions): (event: ServerEvent) => Piece {
  const read = vendor.reader(options)
  return (event) => {
    const chunk = parseJson(event.data)
    if (!isObject(chunk)) return read(event)
    // What was mended is the conversation that it never was.
    const { repaired: _, ...piece } = read({ ...event, data: encoder.encode(JSON.stringify(asChat(chunk, 'delta'))) })
    return piece
  }
}

function reply(vendor: Vendor, body: JsonObject, options: ReaderOptions): VendorReply {
  const { repaired: _, ...answer } = vendor.reply(asChat(body, 'message'), options)
  return answer
}

function isCompletion({ dialect }: Call): boolean {
  return dialect === 'completions'
}

/** A compatible vendor that completes prompts too: callers of that get its own bytes. */
export function withCompletions(vendor: Vendor): Vendor {
  return {
    ...vendor,
    speaks: [...vendor.speaks, 'completions'],
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request: (call, target, access, stream) =>
      isCompletion(call)
        ? request(call, { model: target.model, access, stream })
        : vendor.request(call, target, access, stream),
    reader: (options) => (isCompletion(options.call) ? reader(vendor, options) : vendor.reader(options)),
    reply: (body, options) => (isCompletion(options.call) ? reply(vendor, body, options) : vendor.reply(body, options)),
  }
}

/** Models of OpenAI's that complete prompts and hold no conversations. */
export const openaiCompletions: Vendor = withCompletions({
  ...openaiCompatible({ id: 'openai-completions' }),
  speaks: [],
  request() {
    throw cannot('messages', 'conversations: it completes prompts, at /v1/completions')
  },
})
