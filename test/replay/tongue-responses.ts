import type { JsonObject } from '../../src/core/call.ts'
import { decode, isObject, list, objectIn, parsed, payloadsOf, type Reading, text } from './reader.ts'
import { classOf, countOf, type Tongue } from './tongue.ts'
import { messageIn } from './tongue-chat.ts'

/** OpenAI's Responses. */
export const responsesTongue: Tongue = {
  kind: 'responses',
  dialect: 'responses',
  path: () => '/v1/responses',
  vendorPath: () => '/responses',
  request: ({ model, stream }) => ({ model, input: 'Say something.', ...(stream && { stream }) }),
  inForm: ({ stream: _, ...body }, { model, stream }) => ({ ...body, model, ...(stream && { stream }) }),
  readStream,
  readBody: (bytes) => read(objectIn(decode(bytes))),
  bare({ model: _, usage: __, response, ...event }) {
    if (!isObject(response)) return event
    const { model: ___, usage: ____, ...rest } = response
    return { ...event, response: rest }
  },
  totals: (usage) => ({ input: countOf(usage, 'input_tokens'), output: countOf(usage, 'output_tokens') }),
  finishClass: (reading) => classOf(reading, words),
  errorMessage: ({ error }) => messageIn(error),
}

const words = {
  completed: 'stop',
  'incomplete:max_output_tokens': 'length',
  'incomplete:content_filter': 'content_filter',
}

const endings: ReadonlySet<string> = new Set(['response.completed', 'response.incomplete', 'response.failed'])

/** The texts are put together from the deltas; the rest is read of the response that the last event tells. */
function readStream(bytes: Uint8Array): Reading {
  // Some vendors close it as a stream of chat completions.
  const events = payloadsOf(bytes)
    .filter((payload) => payload !== '[DONE]')
    .map(objectIn)
  const last = events.findLast(({ type }) => endings.has(text(type)))
  const whole = isObject(last?.['response']) ? last['response'] : {}
  const said = (type: string) =>
    events
      .filter((event) => event['type'] === type)
      .map(({ delta }) => text(delta))
      .join('')
  const failed = events.find(({ type }) => type === 'error')
  const models = events.flatMap(({ response }) => (isObject(response) ? [text(response['model'])] : []))
  return {
    ...read(whole),
    text: said('response.output_text.delta'),
    reasoning: said('response.reasoning_summary_text.delta') + said('response.reasoning_text.delta'),
    models: [...new Set(models.filter((model) => model !== ''))],
    error: failed ?? (isObject(whole['error']) ? whole['error'] : undefined),
    isDone: last !== undefined && last['type'] !== 'response.failed',
    events,
  }
}

function read(body: JsonObject): Reading {
  const output = list(body['output'])
  const ofType = (type: string) => output.filter((item) => item['type'] === type)
  // A compacted conversation has its caller's messages in it.
  const messages = ofType('message').filter(({ role }) => role === 'assistant')
  const texts = messages.flatMap(({ content }) => list(content).map((part) => text(part['text'])))
  const thoughts = ofType('reasoning').flatMap(({ summary, content }) =>
    [...list(summary), ...list(content)].map((part) => text(part['text'])),
  )
  const { status, incomplete_details: why } = body
  const reason = isObject(why) ? text(why['reason']) : ''
  return {
    text: texts.join(''),
    reasoning: thoughts.join(''),
    toolCalls: ofType('function_call').map((item) => ({
      id: text(item['call_id']) || undefined,
      name: text(item['name']),
      arguments: parsed(text(item['arguments'])),
    })),
    finish: reason === '' ? text(status) || undefined : `${text(status)}:${reason}`,
    choices: 1,
    usage: isObject(body['usage']) ? body['usage'] : undefined,
    models: [text(body['model'])].filter((model) => model !== ''),
    error: isObject(body['error']) ? body['error'] : undefined,
    isDone: true,
    events: [body],
  }
}
