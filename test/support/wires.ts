import type { Behaviour, Usage, VendorCall } from './vendor.ts'
import { eventsOf, json, completion } from './vendor.ts'

/** How one kind of vendor says things: the frames of its streams and its bodies. */
export interface Wire {
  /** The adapter that reads it. */
  readonly adapter: string
  /** Its own dialect, as the gateway names it. */
  readonly dialect: string
  isStream(call: VendorCall): boolean
  /** The frames of a whole stream: one without content, a word each, and the end. */
  frames(text: string, usage?: Usage): readonly string[]
  body(text: string, usage?: Usage): unknown
  /** An error in mid-stream. */
  readonly errorFrame: string
  /** The header that has the vendor's key. */
  keyOf(call: VendorCall): string | undefined
}

const wordsOf = (text: string) => text.split(/(?<= )/)
const data = (payload: unknown) => `data: ${JSON.stringify(payload)}\n\n`
const event = (payload: { readonly type: string; readonly [name: string]: unknown }) =>
  `event: ${payload.type}\n${data(payload)}`

/** Of one that speaks no more of OpenAI's dialects than this one. */
const openai: Wire = {
  adapter: 'groq',
  dialect: 'chat',
  isStream: ({ body }) => body['stream'] === true,
  frames: (text, usage) => [...eventsOf(text, usage).map((payload) => `data: ${payload}\n\n`), 'data: [DONE]\n\n'],
  body: completion,
  errorFrame: data({ error: { message: 'Overloaded.', type: 'server_error', code: 'overloaded' } }),
  keyOf: ({ headers }) => headers.authorization?.replace('Bearer ', ''),
}

const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'vendor-model-2026' }
const anthropicUsage = (usage: Usage) => ({ input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens })

const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded.' } }

const anthropic: Wire = {
  adapter: 'anthropic',
  dialect: 'messages',
  isStream: ({ body }) => body['stream'] === true,
  frames: (text, usage) =>
    [
      {
        type: 'message_start',
        message: {
          ...message,
          content: [],
          stop_reason: null,
          ...(usage && { usage: { input_tokens: usage.prompt_tokens, output_tokens: 0 } }),
        },
      },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      ...wordsOf(text).map((word) => ({
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'text_delta', text: word },
      })),
      { type: 'content_block_stop', index: 0 },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        ...(usage && { usage: anthropicUsage(usage) }),
      },
      { type: 'message_stop' },
    ].map(event),
  body: (text, usage) => ({
    ...message,
    content: [{ type: 'text', text }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    ...(usage && { usage: anthropicUsage(usage) }),
  }),
  errorFrame: event(overloaded),
  keyOf: ({ headers }) => headers['x-api-key'] as string | undefined,
}

const candidate = (text: string, finishReason?: string) => ({
  content: { role: 'model', parts: [{ text }] },
  ...(finishReason !== undefined && { finishReason }),
  index: 0,
})
const googleUsage = (usage: Usage) => ({
  usageMetadata: {
    promptTokenCount: usage.prompt_tokens,
    candidatesTokenCount: usage.completion_tokens,
    totalTokenCount: usage.prompt_tokens + usage.completion_tokens,
  },
})
const served = { modelVersion: 'vendor-model-2026', responseId: 'r-1' }

const gemini: Wire = {
  adapter: 'gemini',
  dialect: 'generate',
  isStream: ({ path }) => path.includes(':streamGenerateContent'),
  frames: (text, usage) => [
    ...wordsOf(text).map((word) => data({ candidates: [candidate(word)], ...served })),
    data({ candidates: [candidate('', 'STOP')], ...(usage && googleUsage(usage)), ...served }),
  ],
  body: (text, usage) => ({ candidates: [candidate(text, 'STOP')], ...(usage && googleUsage(usage)), ...served }),
  errorFrame: data({ error: { code: 503, message: 'Overloaded.', status: 'UNAVAILABLE' } }),
  keyOf: ({ headers }) => headers['x-goog-api-key'] as string | undefined,
}

const failed = { type: 'error', sequence_number: 9, code: 'server_error', message: 'Overloaded.', param: null }
const response = { id: 'resp_1', object: 'response', created_at: 1, model: 'vendor-model-2026' }
const outputItem = (text: string, status: string) => ({
  type: 'message',
  id: 'msg_1',
  status,
  role: 'assistant',
  content: text === '' ? [] : [outputText(text)],
})
const outputText = (text: string) => ({ type: 'output_text', text, annotations: [] })
const responseOf = (text: string, usage?: Usage) => ({
  ...response,
  status: 'completed',
  error: null,
  incomplete_details: null,
  output: [outputItem(text, 'completed')],
  usage: usage
    ? {
        input_tokens: usage.prompt_tokens,
        output_tokens: usage.completion_tokens,
        total_tokens: usage.prompt_tokens + usage.completion_tokens,
      }
    : null,
})
const at = { item_id: 'msg_1', output_index: 0, content_index: 0 }

const responses: Wire = {
  adapter: 'openai-responses',
  dialect: 'responses',
  isStream: ({ body }) => body['stream'] === true,
  frames: (text, usage) =>
    [
      { type: 'response.created', response: { ...response, status: 'in_progress', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item: outputItem('', 'in_progress') },
      { type: 'response.content_part.added', ...at, part: outputText('') },
      ...wordsOf(text).map((delta) => ({ type: 'response.output_text.delta', ...at, delta })),
      { type: 'response.output_text.done', ...at, text },
      { type: 'response.content_part.done', ...at, part: outputText(text) },
      { type: 'response.output_item.done', output_index: 0, item: outputItem(text, 'completed') },
      { type: 'response.completed', response: responseOf(text, usage) },
    ].map((payload, sequence) => event({ ...payload, sequence_number: sequence })),
  body: responseOf,
  errorFrame: event(failed),
  keyOf: openai.keyOf,
}

export const wires: readonly Wire[] = [openai, anthropic, gemini, responses]

/** A whole answer in the form that was asked for. */
export function says(wire: Wire, text: string, usage?: Usage): Behaviour {
  return (call, response) => {
    if (!wire.isStream(call)) return json(response, 200, wire.body(text, usage))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(wire.frames(text, usage).join(''))
  }
}

/** A stream of these frames, after which the connection breaks or stays open. */
export function saysSome(frames: readonly string[], after: 'break' | 'wait'): Behaviour {
  return (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(frames.join(''), () => (after === 'break' ? response.destroy() : undefined))
  }
}
