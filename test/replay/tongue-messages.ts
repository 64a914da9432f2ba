import type { JsonObject } from '../../src/core/call.ts'
import { decode, isObject, list, objectIn, parsed, payloadsOf, type ReadCall, type Reading, text } from './reader.ts'
import { classOf, countOf, type Tongue } from './tongue.ts'

/** Anthropic's messages. */
export const messagesTongue: Tongue = {
  kind: 'messages',
  dialect: 'messages',
  path: () => '/v1/messages',
  vendorPath: () => '/messages',
  request: ({ model, stream }) => ({
    model,
    max_tokens: 1_000,
    messages: [{ role: 'user', content: 'Say something.' }],
    ...(stream && { stream }),
  }),
  inForm: ({ stream: _, ...body }, { model, stream }) => ({ ...body, model, ...(stream && { stream }) }),
  readStream,
  readBody,
  bare({ usage: _, model: __, message, ...event }) {
    if (!isObject(message)) return event
    const { model: ___, usage: ____, ...rest } = message
    return { ...event, message: rest }
  },
  totals: (usage) => ({
    input:
      countOf(usage, 'input_tokens') +
      countOf(usage, 'cache_read_input_tokens') +
      countOf(usage, 'cache_creation_input_tokens'),
    output: countOf(usage, 'output_tokens'),
  }),
  finishClass: (reading) => classOf(reading, words),
  errorMessage({ type, error }) {
    if (type !== 'error' || !isObject(error) || typeof error['type'] !== 'string') return undefined
    return typeof error['message'] === 'string' ? error['message'] : undefined
  },
}

const words = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

interface OpenBlock {
  readonly type: string
  readonly id: string | undefined
  readonly name: string
  json: string
  input: JsonObject[string]
}

function readStream(bytes: Uint8Array): Reading {
  const events = payloadsOf(bytes).map(objectIn)
  const seen = { text: '', reasoning: '', finish: undefined as string | undefined }
  const blocks = new Map<number, OpenBlock>()
  let usage: JsonObject | undefined
  const models = new Set<string>()
  for (const event of events) {
    const { type, index, delta, content_block: begun, message, usage: told } = event
    if (isObject(message)) {
      models.add(text(message['model']))
      if (isObject(message['usage'])) usage = { ...usage, ...message['usage'] }
    }
    if (isObject(told)) usage = { ...usage, ...told }
    if (type === 'content_block_start' && isObject(begun)) {
      blocks.set(Number(index), blockOf(begun))
      seen.text += text(begun['text'])
      seen.reasoning += text(begun['thinking'])
    }
    if (!isObject(delta)) continue
    if (type === 'message_delta') seen.finish = text(delta['stop_reason']) || seen.finish
    seen.text += text(delta['text'])
    seen.reasoning += text(delta['thinking'])
    const block = blocks.get(Number(index))
    if (block) block.json += text(delta['partial_json'])
  }
  return {
    ...seen,
    toolCalls: callsOf([...blocks.values()]),
    choices: 1,
    usage,
    models: [...models],
    error: events.map(({ error }) => error).find(isObject),
    isDone: events.at(-1)?.['type'] === 'message_stop',
    events: events.filter(({ type }) => type !== 'ping'),
  }
}

function blockOf(block: JsonObject): OpenBlock {
  const id = typeof block['id'] === 'string' ? block['id'] : undefined
  return { type: text(block['type']), id, name: text(block['name']), json: '', input: block['input'] }
}

function callsOf(blocks: readonly OpenBlock[]): readonly ReadCall[] {
  return blocks
    .filter(({ type }) => type === 'tool_use')
    .map(({ id, name, json, input }) => ({ id, name, arguments: json === '' ? (input ?? {}) : parsed(json) }))
}

function readBody(bytes: Uint8Array): Reading {
  const body = objectIn(decode(bytes))
  const content = list(body['content'])
  const texts = content.filter(({ type }) => type === 'text').map((block) => text(block['text']))
  const thoughts = content.filter(({ type }) => type === 'thinking').map((block) => text(block['thinking']))
  return {
    text: texts.join(''),
    reasoning: thoughts.join(''),
    toolCalls: callsOf(content.map(blockOf)),
    finish: text(body['stop_reason']) || undefined,
    choices: 1,
    usage: isObject(body['usage']) ? body['usage'] : undefined,
    models: [text(body['model'])].filter((model) => model !== ''),
    error: undefined,
    isDone: true,
    events: [body],
  }
}
