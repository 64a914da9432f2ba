import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { createSseParser, type ServerEvent } from '../../src/core/sse.ts'
import { isList, isObject, parseJson } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import type { Front } from '../../src/fronts/front.ts'
import { fronts } from '../../src/fronts/index.ts'
import { vendors } from '../../src/vendors/index.ts'
import type { Piece, Vendor } from '../../src/vendors/vendor.ts'
import { samples, type Sample } from './samples.ts'
import { event, translating } from './streams.ts'

/**
 * Every field of every event of a small answer of each wire, taken out one at a time, at each depth: what is left is
 * read, and told in every dialect. Nothing of it may throw.
 */

const chatFronts = fronts.filter(({ operation }) => operation === 'chat')
const callOf = (front: Front, stream: boolean): Call => ({ ...translating.call, dialect: front.dialect, stream })

function eventsIn({ contentType, bytes }: Sample, vendor: Vendor): readonly ServerEvent[] {
  const parser = vendor.parser?.(contentType) ?? createSseParser()
  return [...parser.push(bytes), ...parser.end()]
}

/** The value without its first field, without its second, and so on, at each depth; and with each of them as null. */
function* lacking(value: Json | undefined): Generator<Json> {
  const entries = isList(value) ? [...value.entries()] : isObject(value) ? Object.entries(value) : []
  for (const [key, item] of entries) {
    for (const put of [undefined, null]) {
      const others = entries.filter(([name]) => name !== key)
      if (isList(value))
        yield put === null ? value.map((one, at) => (at === key ? null : one)) : others.map(([, one]) => one ?? null)
      else yield { ...Object.fromEntries(others), ...(put === null && { [key]: null }) }
    }
    for (const less of lacking(item)) {
      if (isList(value)) yield value.map((one, at) => (at === key ? less : one))
      else if (isObject(value)) yield { ...value, [key]: less }
    }
  }
}

/** Reads a stream and tells it in one dialect, in events and in one body. */
function tell(vendor: Vendor, front: Front, events: readonly ServerEvent[]): void {
  const translates = !vendor.speaks.includes(front.dialect)
  const call = callOf(front, true)
  const read = vendor.reader({ call, translates })
  if (!translates)
    return pass(
      front,
      call,
      events.map((one) => ({ event: one, piece: read(one) })),
    )
  const writer = front.writer(call)
  const gatherer = createGatherer()
  for (const one of events) {
    const { chunks = [parseJson(one.data)] } = read(one)
    for (const chunk of chunks) {
      if (!isObject(chunk)) continue
      writer.write(chunk)
      gatherer.addChunk(chunk)
    }
  }
  writer.close(undefined)
  front.reply(callOf(front, false), gatherer.body())
}

function pass(
  front: Front,
  call: Call,
  steps: readonly { readonly event: ServerEvent; readonly piece: Piece }[],
): void {
  const passing = front.passing(call)
  const gatherer = passing.gatherer()
  for (const step of steps) {
    passing.event(step, 1n)
    gatherer.add(step.piece.repaired ? { ...step.event, data: step.piece.repaired } : step.event)
  }
  passing.cut()
  gatherer.body('length')
}

describe.each(samples.map((sample) => [`${sample.adapter}, ${sample.name}`, sample] as const))('%s', (_, sample) => {
  const vendor = vendors.get(sample.adapter)!
  const events = eventsIn(sample, vendor)
  const cases = events.flatMap(({ name, data }, at) =>
    [...lacking(parseJson(data))].map((less) => events.with(at, event(less, name))),
  )

  test('has events with fields', () => {
    expect([events.length > 1, cases.length > 20]).toEqual([true, true])
  })

  test.each(chatFronts.map((front) => [front.dialect, front] as const))('is told to a caller of %s', (__, front) => {
    const thrown = cases.flatMap((all) => {
      try {
        tell(vendor, front, all)
        return []
      } catch (error) {
        return [`${String(error)} for ${JSON.stringify(all.map(({ data }) => new TextDecoder().decode(data)))}`]
      }
    })
    expect(thrown).toEqual([])
  })

  test('is told without any of its events', () => {
    for (const front of chatFronts) for (const at of events.keys()) tell(vendor, front, events.toSpliced(at, 1))
  })
})

/** Whole answers, as a body has them. */
const wholes: readonly (readonly [adapter: string, body: JsonObject])[] = [
  [
    'deepseek',
    {
      id: 'c',
      object: 'chat.completion',
      created: 1,
      model: 'm',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: 'I look.',
            reasoning_content: 'Hm.',
            refusal: null,
            tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
            annotations: [
              { type: 'url_citation', url_citation: { url: 'u', title: 't', start_index: 0, end_index: 1 } },
            ],
            audio: { id: 'x', data: 'AA==', transcript: 'y', expires_at: 1 },
          },
          logprobs: {
            content: [{ token: 'a', logprob: -1, bytes: [1], top_logprobs: [{ token: 'a', logprob: -1, bytes: [1] }] }],
          },
          finish_reason: 'tool_calls',
        },
      ],
      usage: {
        prompt_tokens: 9,
        completion_tokens: 4,
        total_tokens: 13,
        prompt_tokens_details: { cached_tokens: 1 },
        completion_tokens_details: { reasoning_tokens: 1 },
      },
    },
  ],
  [
    'anthropic',
    {
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'c',
      stop_reason: 'tool_use',
      stop_sequence: null,
      content: [
        { type: 'thinking', thinking: 'Hm.', signature: 's' },
        { type: 'redacted_thinking', data: 'd' },
        {
          type: 'text',
          text: 'I look.',
          citations: [
            { type: 'web_search_result_location', url: 'u', title: 't', encrypted_index: 'e', cited_text: 'I' },
          ],
        },
        { type: 'tool_use', id: 't', name: 'f', input: { a: 1 } },
      ],
      usage: {
        input_tokens: 9,
        output_tokens: 4,
        cache_read_input_tokens: 1,
        cache_creation: { ephemeral_5m_input_tokens: 1 },
        server_tool_use: { web_search_requests: 1 },
      },
    },
  ],
  [
    'gemini',
    {
      candidates: [
        {
          index: 0,
          finishReason: 'STOP',
          content: {
            role: 'model',
            parts: [
              { text: 'Hm.', thought: true, thoughtSignature: 's' },
              { text: 'I look.' },
              { functionCall: { id: 'i', name: 'f', args: { a: 1 } } },
              { inlineData: { mimeType: 'image/png', data: 'AA==' } },
            ],
          },
          groundingMetadata: {
            groundingChunks: [{ web: { uri: 'u', title: 't' } }],
            groundingSupports: [{ segment: { startIndex: 0, endIndex: 1, text: 'I' }, groundingChunkIndices: [0] }],
          },
          logprobsResult: {
            topCandidates: [{ candidates: [{ token: 'a', logProbability: -1 }] }],
            chosenCandidates: [{ token: 'a', logProbability: -1 }],
          },
        },
      ],
      promptFeedback: { blockReason: 'SAFETY' },
      usageMetadata: {
        promptTokenCount: 9,
        candidatesTokenCount: 4,
        thoughtsTokenCount: 1,
        totalTokenCount: 14,
        promptTokensDetails: [{ modality: 'TEXT', tokenCount: 9 }],
      },
      modelVersion: 'g',
      responseId: 'r',
    },
  ],
  [
    'openai-responses',
    {
      id: 'r',
      object: 'response',
      created_at: 1,
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      model: 'm',
      error: null,
      output: [
        { type: 'reasoning', id: 'rs', summary: [{ type: 'summary_text', text: 'Hm.' }], encrypted_content: 'gAAAA' },
        {
          type: 'message',
          id: 'msg',
          role: 'assistant',
          status: 'completed',
          content: [
            {
              type: 'output_text',
              text: 'I look.',
              annotations: [{ type: 'url_citation', url: 'u', title: 't', start_index: 0, end_index: 1 }],
            },
          ],
        },
        { type: 'function_call', id: 'fc', call_id: 'c', name: 'f', arguments: '{}', status: 'completed' },
      ],
      usage: {
        input_tokens: 9,
        output_tokens: 4,
        total_tokens: 13,
        input_tokens_details: { cached_tokens: 1 },
        output_tokens_details: { reasoning_tokens: 1 },
      },
    },
  ],
  [
    'bedrock',
    {
      output: {
        message: {
          role: 'assistant',
          content: [
            { reasoningContent: { reasoningText: { text: 'Hm.', signature: 's' } } },
            { text: 'I look.' },
            { toolUse: { toolUseId: 't', name: 'f', input: { a: 1 } } },
          ],
        },
      },
      stopReason: 'tool_use',
      usage: { inputTokens: 9, outputTokens: 4, totalTokens: 13 },
      metrics: { latencyMs: 1 },
    },
  ],
  [
    'cohere',
    {
      id: 'c',
      finish_reason: 'TOOL_CALL',
      message: {
        role: 'assistant',
        tool_plan: 'p',
        content: [
          { type: 'text', text: 'I look.' },
          { type: 'thinking', thinking: 'Hm.' },
        ],
        tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        citations: [
          { start: 0, end: 1, text: 'I', sources: [{ type: 'document', id: 'd', document: { url: 'u', title: 't' } }] },
        ],
      },
      usage: { billed_units: { input_tokens: 1, output_tokens: 1 }, tokens: { input_tokens: 9, output_tokens: 4 } },
    },
  ],
  [
    'dashscope',
    {
      output: {
        choices: [
          {
            finish_reason: 'tool_calls',
            message: {
              role: 'assistant',
              content: [{ text: 'I look.' }],
              reasoning_content: 'Hm.',
              tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
            },
          },
        ],
      },
      usage: { input_tokens: 9, output_tokens: 4, total_tokens: 13 },
      request_id: 'r',
    },
  ],
  [
    'ollama-native',
    {
      model: 'm',
      created_at: 'x',
      message: {
        role: 'assistant',
        content: 'I look.',
        thinking: 'Hm.',
        tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }],
      },
      done: true,
      done_reason: 'stop',
      prompt_eval_count: 9,
      eval_count: 4,
    },
  ],
  [
    'dify',
    {
      event: 'message',
      message_id: 'm',
      conversation_id: 'c',
      answer: 'I look.',
      metadata: { usage: { prompt_tokens: 9, completion_tokens: 2, total_price: '0.1', currency: 'USD' } },
      created_at: 1,
    },
  ],
]

describe.each(wholes)('a body of %s', (adapter, body) => {
  const vendor = vendors.get(adapter)!
  test.each(chatFronts.map((front) => [front.dialect, front] as const))('is told to a caller of %s', (_, front) => {
    const call = callOf(front, false)
    const translates = !vendor.speaks.includes(front.dialect)
    const thrown = [body, ...lacking(body)].flatMap((less) => {
      if (!isObject(less)) return []
      try {
        const { inner } = vendor.reply(less, { call, translates })
        if (translates) front.reply(call, inner ?? less)
        else front.passing(call).body(new TextEncoder().encode(JSON.stringify(less)), true)
        return []
      } catch (error) {
        return [`${String(error)} for ${JSON.stringify(less)}`]
      }
    })
    expect(thrown).toEqual([])
  })
})
