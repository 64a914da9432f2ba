import type { JsonObject } from '../../src/core/call.ts'
import { decode, isObject, list, objectIn, payloadsOf, type Reading, text } from './reader.ts'
import { classOf, countOf, type Tongue } from './tongue.ts'
import { messageIn } from './tongue-chat.ts'

const done = '[DONE]'
const streamed = { stream: true, stream_options: { include_usage: true } }

/** OpenAI's completions of a prompt. */
export const completionsTongue: Tongue = {
  kind: 'completions',
  dialect: 'completions',
  path: () => '/v1/completions',
  vendorPath: () => '/completions',
  request: ({ model, stream }) => ({ model, prompt: 'Say something.', ...(stream && streamed) }),
  inForm({ stream: _, stream_options: __, ...body }, { model, stream }) {
    return { ...body, model, ...(stream && streamed) }
  },
  readStream(bytes) {
    const payloads = payloadsOf(bytes).map((payload) => payload.trim())
    const events = payloads.filter((payload) => payload !== done).map(objectIn)
    return { ...readEvents(events), isDone: payloads.at(-1) === done }
  },
  readBody: (bytes) => ({ ...readEvents([objectIn(decode(bytes))]), isDone: true }),
  bare: ({ model: _, usage: __, ...event }) => event,
  totals: (usage) => ({ input: countOf(usage, 'prompt_tokens'), output: countOf(usage, 'completion_tokens') }),
  finishClass: (reading) => classOf(reading, {}),
  errorMessage: ({ error }) => messageIn(error),
}

function readEvents(events: readonly JsonObject[]): Omit<Reading, 'isDone'> {
  const choices = events.flatMap((event) => list(event['choices']))
  const first = choices.filter(({ index = 0 }) => index === 0)
  return {
    text: first.map((choice) => text(choice['text'])).join(''),
    reasoning: '',
    toolCalls: [],
    finish: first.map((choice) => text(choice['finish_reason'])).findLast((finish) => finish !== ''),
    choices: new Set(choices.map(({ index = 0 }) => index)).size,
    usage: events.map(({ usage }) => usage).findLast(isObject),
    models: [...new Set(events.map(({ model }) => text(model)).filter((model) => model !== ''))],
    error: events.map(({ error }) => error).find(isObject),
    events,
  }
}
