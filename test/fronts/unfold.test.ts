import { MessageStream } from '@anthropic-ai/sdk/lib/MessageStream'
import { ResponseStream } from 'openai/lib/responses/ResponseStream'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { concat } from '../../src/core/concat.ts'
import type { Front } from '../../src/fronts/front.ts'
import { generate } from '../../src/fronts/generate.ts'
import { messages } from '../../src/fronts/messages.ts'
import { responses } from '../../src/fronts/responses.ts'
import { anthropic } from '../../src/vendors/anthropic.ts'
import { gemini } from '../../src/vendors/gemini.ts'
import { openaiResponses } from '../../src/vendors/openai-responses.ts'
import type { Vendor } from '../../src/vendors/vendor.ts'
import { recorded, recordedJson, type Recorded } from '../fixtures/recorded.ts'
import { eventsOf, passing } from '../vendors/streams.ts'

/** A body as the stream of a caller of the vendor's own dialect, and what is read of that on the side. */

const wholes = (kind: string, ...vendors: readonly [string, ...string[]]) =>
  recorded(kind, ...vendors)
    .filter(({ status, streaming }) => status === 200 && !streaming)
    .map((entry) => [`${entry.vendor} ${entry.id}`, entry] as const)

const callFor = (front: Front): Call => ({ ...passing.call, dialect: front.dialect, model: 'public' })

function unfolded(front: Front, vendor: Vendor, body: JsonObject) {
  const call = callFor(front)
  const own = front.passing(call)
  const events = own.unfold?.(body) ?? []
  const read = vendor.reader({ call, translates: false })
  const steps = events.map((event) => ({ event, piece: read(event) }))
  const gatherer = own.gatherer()
  for (const event of events) gatherer.add(event)
  return {
    gathered: gatherer.body(),
    bytes: concat(steps.map((step) => own.event(step))),
    text: steps.map(({ piece }) => piece.text ?? '').join(''),
    usage: steps.findLast(({ piece }) => piece.usage)?.piece.usage,
    finish: steps.findLast(({ piece }) => piece.finish !== undefined)?.piece.finish,
    errors: steps.flatMap(({ piece }) => piece.error ?? []),
    whole: steps.some(({ piece }) => piece.whole),
  }
}

/** What the whole body says. */
function said(front: Front, vendor: Vendor, body: JsonObject) {
  const { text, usage, finish } = vendor.reply(body, { call: callFor(front), translates: false })
  return { text, usage, finish, errors: [], whole: true }
}

function bodyOf(entry: Recorded): JsonObject {
  return recordedJson(entry) as JsonObject
}

const message: JsonObject = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude',
  container: { id: 'box' },
  content: [
    { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' },
    {
      type: 'text',
      text: 'Here: ☂',
      citations: [{ type: 'char_location', cited_text: 'a' }, { type: 'page_location' }],
    },
    { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'q' } },
    { type: 'web_search_tool_result', tool_use_id: 's1', content: [{ type: 'web_search_result', url: 'u' }] },
    { type: 'tool_use', id: 't1', name: 'now', input: {}, unheard_of: 1 },
  ],
  stop_reason: 'stop_sequence',
  stop_sequence: 'END',
  usage: { input_tokens: 3, output_tokens: 9, cache_read_input_tokens: 2, unheard_of: { a: 1 } },
}

describe('a message in one body', () => {
  const { text, ...counted } = said(messages, anthropic, message)

  test('is the same message as a stream, with every field of it', () => {
    const { gathered, bytes, text: told, ...rest } = unfolded(messages, anthropic, message)
    expect([gathered, rest]).toEqual([{ ...message, model: 'public' }, counted])
  })

  test('is read by the SDK as it is', async () => {
    const { bytes } = unfolded(messages, anthropic, message)
    const lines = eventsOf(bytes).map(({ data }) => `${new TextDecoder().decode(data)}\n`)
    const stream = MessageStream.fromReadableStream(new Blob(lines).stream())
    const { id, content, stop_reason, stop_sequence, usage } = await stream.finalMessage()
    expect({ id, content, stop_reason, stop_sequence, usage }).toMatchObject({
      id: 'msg_1',
      content: message['content'],
      stop_reason: 'stop_sequence',
      stop_sequence: 'END',
      usage: message['usage'],
    })
  })

  test.each(wholes('messages', 'anthropic'))('%s is the same as a stream', (_, entry) => {
    const body = bodyOf(entry)
    const { gathered, bytes, ...rest } = unfolded(messages, anthropic, body)
    expect([gathered, rest]).toEqual([{ ...body, model: 'public' }, said(messages, anthropic, body)])
  })
})

describe('a response in one body', () => {
  const items: readonly JsonObject[] = [
    { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Hm.' }], encrypted_content: 'x' },
    { type: 'image_generation_call', id: 'ig_1', status: 'completed', result: 'AAAA' },
    {
      type: 'message',
      id: 'msg_1',
      role: 'assistant',
      status: 'completed',
      content: [
        { type: 'output_text', text: 'Hi ☂', annotations: [{ type: 'url_citation', url: 'u' }], logprobs: [] },
        { type: 'refusal', refusal: 'No.' },
      ],
    },
    { type: 'function_call', id: 'fc_1', call_id: 'c', name: 'f', arguments: '{"a":1}', status: 'completed' },
  ]
  const response: JsonObject = {
    id: 'resp_1',
    object: 'response',
    model: 'gpt',
    status: 'completed',
    output: items,
    unheard_of: { a: 1 },
    usage: { input_tokens: 3, output_tokens: 9, total_tokens: 12 },
  }

  test('is the same response as a stream, with every field of it', () => {
    const { gathered, usage, finish, errors, whole } = unfolded(responses, openaiResponses, response)
    const { text: _, ...counted } = said(responses, openaiResponses, response)
    // The gatherer adds the fields that a response always has.
    expect([gathered, { usage, finish, errors, whole }]).toMatchObject([{ ...response, model: 'public' }, counted])
  })

  test('is read by the SDK as it is', async () => {
    const { bytes } = unfolded(responses, openaiResponses, response)
    const lines = eventsOf(bytes).map(({ data }) => `${new TextDecoder().decode(data)}\n`)
    const stream = ResponseStream.fromReadableStream(new Blob(lines).stream())
    const { output, id } = await stream.finalResponse()
    expect({ id, output }).toMatchObject({ id: 'resp_1', output: items })
  })

  // A compacted conversation is no response, and nobody can ask for one in a stream.
  const answers = wholes('responses', 'openai', 'xai', 'azure').filter(([, entry]) => bodyOf(entry)['status'])

  test.each(answers)('%s is the same as a stream', (_, entry) => {
    const body = bodyOf(entry)
    const { gathered, usage, finish, errors } = unfolded(responses, openaiResponses, body)
    const { usage: counts, finish: end } = said(responses, openaiResponses, body)
    expect([gathered, { usage, finish, errors }]).toMatchObject([
      { ...body, model: 'public' },
      { usage: counts, finish: end, errors: [] },
    ])
  })
})

describe("an answer in Google's words in one body", () => {
  test.each(wholes('generateContent', 'gemini', 'vertex'))('%s is one event, as it stands', (_, entry) => {
    const body = bodyOf(entry)
    const { gathered, bytes, ...rest } = unfolded(generate, gemini, body)
    const events = generate.passing(callFor(generate)).unfold?.(body) ?? []
    expect(events.map(({ data }) => JSON.parse(new TextDecoder().decode(data)) as unknown)).toEqual([body])
    expect(rest).toEqual(said(generate, gemini, body))
  })
})
