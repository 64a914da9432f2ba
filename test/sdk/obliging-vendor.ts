import type { Behaviour, VendorCall } from '../support/vendor.ts'
import { completion, eventsOf, json, openStream } from '../support/vendor.ts'

export const usage = { prompt_tokens: 10, completion_tokens: 3 }
export const text = 'One two three'
export const place = { city: 'Paris' }

interface Tool {
  readonly function?: { readonly name?: string }
}

/** The name of the function that is to be called; undefined where an answer is wanted. */
function wanted({ body }: VendorCall): string | undefined {
  const [first] = (body['tools'] ?? []) as readonly Tool[]
  const choice = body['tool_choice']
  return typeof choice === 'object' && choice !== null ? (choice as Tool).function?.name : first?.function?.name
}

const base = { id: 'chatcmpl-1', created: 1, model: 'vendor-model-2026' }

/**
 * A vendor of chat completions that does what it is asked for: calls the function that it is given, in three pieces,
 * fills a schema, or says some words.
 */
export const obliging: Behaviour = (call, response) => {
  const isStream = call.body['stream'] === true
  const named = wanted(call)
  const said = call.body['response_format'] === undefined ? text : JSON.stringify(place)
  if (named === undefined && !isStream) return json(response, 200, completion(said, usage))
  if (named === undefined) {
    openStream(response)
    for (const event of eventsOf(said, usage)) response.write(`data: ${event}\n\n`)
    return void response.end('data: [DONE]\n\n')
  }
  const called = { id: 'call_1', type: 'function', function: { name: named, arguments: JSON.stringify(place) } }
  if (!isStream) {
    const message = { role: 'assistant', content: null, tool_calls: [called] }
    const choices = [{ index: 0, message, finish_reason: 'tool_calls' }]
    return json(response, 200, { ...base, object: 'chat.completion', choices, usage: { ...usage, total_tokens: 13 } })
  }
  const chunk = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
  const piece = (args: string) => chunk({ tool_calls: [{ index: 0, function: { arguments: args } }] })
  openStream(response)
  response.write(
    chunk({ role: 'assistant', tool_calls: [{ index: 0, ...called, function: { name: named, arguments: '' } }] }),
  )
  for (const part of ['{"city"', ':"Par', 'is"}']) response.write(piece(part))
  response.write(chunk({}, 'tool_calls'))
  response.end(
    `data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [], usage: { ...usage, total_tokens: 13 } })}\n\ndata: [DONE]\n\n`,
  )
}
