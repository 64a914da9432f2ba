import type { JsonObject } from '../../src/core/call.ts'
import { isObject, readBody, readStream } from './reader.ts'
import { classOf, countOf, type Tongue } from './tongue.ts'

/** OpenAI's chat completions. */
export const chatTongue: Tongue = {
  kind: 'chat',
  dialect: 'chat',
  path: () => '/v1/chat/completions',
  vendorPath: () => '/chat/completions',
  request: ({ model, stream }) => ({
    model,
    messages: [{ role: 'user', content: 'Say something.' }],
    ...(stream && { stream, stream_options: { include_usage: true } }),
  }),
  inForm({ stream: _, stream_options: __, ...body }, { model, stream }) {
    return { ...body, model, ...(stream && { stream, stream_options: { include_usage: true } }) }
  },
  readStream,
  readBody,
  bare: ({ model: _, usage: __, ...event }) => event,
  totals: (usage) => ({ input: countOf(usage, 'prompt_tokens'), output: countOf(usage, 'completion_tokens') }),
  finishClass: (reading) => classOf(reading, words),
  errorMessage: ({ error }) => messageIn(error),
}

const words = { function_call: 'tool_calls' }

/** The message of an error in OpenAI's form. */
export function messageIn(error: JsonObject[string]): string | undefined {
  if (!isObject(error) || typeof error['type'] !== 'string' || error['code'] === undefined) return undefined
  return typeof error['message'] === 'string' ? error['message'] : undefined
}
