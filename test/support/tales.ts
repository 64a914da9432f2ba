import type { ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { json, openStream } from './vendor.ts'

/** What the vendor is to tell: it reads it from the request's field `tale`, which the gateway passes on. */
export interface Tale {
  /** The caller's own number of the call. */
  readonly n: number
  /** Words of the whole answer, each a token. */
  readonly words: number
  /** Between two words; at 0 they come at once. */
  readonly paceMs: number
  /** What the vendor says that it counted for the prompt; absent: it says nothing of what it counted. */
  readonly promptTokens?: number
}

/** How an answer went, as its vendor saw it. */
export interface Told {
  readonly n: number
  readonly words: number
  readonly isWhole: boolean
}

/** Each is a single token of the gateway's tokenizer, and so is each of them in a row. */
const vocabulary = [' one', ' two', ' red', ' blue', ' cat', ' dog', ' sun', ' sea']

export const story = (words: number) => Array.from({ length: words }, (_, at) => wordAt(at)).join('')
const wordAt = (at: number) => vocabulary[at % vocabulary.length] ?? ''

/** What some tokens cost, in nano-units. */
export interface TokenPrices {
  readonly input: bigint
  readonly output: bigint
}

export function costOf({ input, output }: TokenPrices, promptTokens: number, words: number): bigint {
  return BigInt(promptTokens) * input + BigInt(words) * output
}

const base = { id: 'chatcmpl-tale', created: 1, model: 'vendor-model' }
const chunk = (delta: object, finish: string | null = null) =>
  frame({ ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })
const frame = (payload: object) => `data: ${JSON.stringify(payload)}\n\n`

/** Tells a tale in the form that was asked for; resolves when it is told, or when nobody listens any more. */
export async function tell(body: Readonly<Record<string, unknown>>, response: ServerResponse): Promise<Told> {
  const tale = body['tale'] as Tale
  const usage = tale.promptTokens === undefined ? undefined : usageOf(tale.promptTokens, tale.words)
  if (body['stream'] === true) return tellAloud(tale, response, usage)
  await wait(tale.words * tale.paceMs)
  if (response.destroyed) return { n: tale.n, words: 0, isWhole: false }
  const choices = [{ index: 0, message: { role: 'assistant', content: story(tale.words) }, finish_reason: 'stop' }]
  json(response, 200, { ...base, object: 'chat.completion', choices, ...(usage && { usage }) })
  return { n: tale.n, words: tale.words, isWhole: true }
}

function usageOf(prompt: number, completion: number): object {
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

async function tellAloud(tale: Tale, response: ServerResponse, usage: object | undefined): Promise<Told> {
  const { n, words, paceMs } = tale
  openStream(response)
  const end = chunk({}, 'stop') + (usage ? frame({ ...base, choices: [], usage }) : '') + 'data: [DONE]\n\n'
  const opening = chunk({ role: 'assistant', content: '' })
  if (paceMs === 0) {
    response.end(opening + Array.from({ length: words }, (_, at) => chunk({ content: wordAt(at) })).join('') + end)
    return { n, words, isWhole: true }
  }
  response.write(opening)
  for (let at = 0; at < words; at++) {
    if (response.destroyed) return { n, words: at, isWhole: false }
    response.write(chunk({ content: wordAt(at) }))
    await wait(paceMs)
  }
  response.end(end)
  return { n, words, isWhole: true }
}
