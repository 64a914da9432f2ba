import type { Json, JsonObject } from '../../src/core/call.ts'
import { decode, isObject, list, objectIn, payloadsOf, type Reading, text } from './reader.ts'
import { classOf, countOf, type Tongue } from './tongue.ts'

/** Google's generateContent. */
export const generateTongue: Tongue = {
  kind: 'generateContent',
  dialect: 'generate',
  path: (model, stream) => `/v1beta/models/${methodOf(model, stream)}`,
  vendorPath: (model, stream) => `/models/${methodOf(model, stream)}`,
  request: () => ({
    contents: [{ role: 'user', parts: [{ text: 'Say something.' }] }],
    generationConfig: { thinkingConfig: { includeThoughts: true } },
  }),
  inForm: (body) => body,
  readStream(bytes) {
    const events = payloadsOf(bytes).map(objectIn)
    return { ...readEvents(events), isDone: events.some((event) => finishIn(event) !== undefined) }
  },
  readBody: (bytes) => ({ ...readEvents([objectIn(decode(bytes))]), isDone: true }),
  bare: ({ modelVersion: _, usageMetadata: __, ...event }) => event,
  totals: (usage) => ({
    input: countOf(usage, 'promptTokenCount') + countOf(usage, 'toolUsePromptTokenCount'),
    output: countOf(usage, 'candidatesTokenCount') + countOf(usage, 'thoughtsTokenCount'),
  }),
  finishClass: (reading) => classOf(reading, words),
  errorMessage({ error }) {
    if (!isObject(error) || typeof error['code'] !== 'number' || typeof error['status'] !== 'string') return undefined
    return typeof error['message'] === 'string' ? error['message'] : undefined
  },
}

function methodOf(model: string, stream: boolean): string {
  return stream ? `${model}:streamGenerateContent?alt=sse` : `${model}:generateContent`
}

const filtered = ['SAFETY', 'RECITATION', 'BLOCKLIST', 'PROHIBITED_CONTENT', 'SPII', 'IMAGE_SAFETY', 'MODEL_ARMOR']
const words = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  ...Object.fromEntries(filtered.flatMap((word) => [word, `BLOCK:${word}`]).map((word) => [word, 'content_filter'])),
}

/** The first candidate's reason, or why the prompt was not let in. */
function finishIn({ candidates, promptFeedback }: JsonObject): string | undefined {
  const [candidate] = list(candidates)
  const blocked = isObject(promptFeedback) ? text(promptFeedback['blockReason']) : ''
  const reason = candidate?.['finishReason']
  // As an SDK stores it.
  if (typeof reason === 'number') return ['UNSPECIFIED', 'STOP', 'MAX_TOKENS', 'SAFETY'][reason]
  return text(reason) || (blocked === '' ? undefined : `BLOCK:${blocked}`)
}

function readEvents(events: readonly JsonObject[]): Omit<Reading, 'isDone'> {
  const parts = events.flatMap(({ candidates }) => {
    const content = list(candidates).find(({ index = 0 }) => index === 0)?.['content']
    return isObject(content) ? list(content['parts']) : []
  })
  const textOf = (isThought: boolean) =>
    parts
      .filter(({ thought }) => (thought === true) === isThought)
      .map((part) => text(part['text']))
      .join('')
  return {
    text: textOf(false),
    reasoning: textOf(true),
    toolCalls: parts.flatMap(({ functionCall: called }) => (isObject(called) ? [callOf(called)] : [])),
    finish: events.map(finishIn).findLast((finish) => finish !== undefined),
    choices: 1,
    usage: events.map(({ usageMetadata: usage }) => usage).findLast(isObject),
    models: [...new Set(events.map(({ modelVersion: model }) => text(model)).filter((model) => model !== ''))],
    error: events.map(({ error }) => error).find(isObject),
    events,
  }
}

function callOf(called: JsonObject): { id: string | undefined; name: string; arguments: Json } {
  const id = typeof called['id'] === 'string' ? called['id'] : undefined
  return { id, name: text(called['name']), arguments: called['args'] ?? {} }
}
