import type { Call, Json, JsonObject } from '../core/call.ts'
import { finishOf, isObject, objectsOf, stringOf } from '../core/wire.ts'

/** What an inner answer is as a completion: the same words for a whole body and for a stream. */

/** What every piece of a completion has in common. */
export function baseOf(call: Call): JsonObject {
  return {
    id: `cmpl-${call.id}`,
    object: 'text_completion',
    created: Math.floor(call.startedAtMs / 1000),
    model: call.model,
  }
}

const reasons: Readonly<Record<string, string>> = { length: 'length', content_filter: 'content_filter' }

/** Why it ended; a completion calls no tools. */
function reasonOf(choice: JsonObject): string | null {
  const finish = finishOf(choice)
  if (finish === undefined) return null
  return (Object.hasOwn(reasons, finish) ? reasons[finish] : undefined) ?? 'stop'
}

/** The prompt, where it shall stand before what completes it. */
export function echoOf({ body }: Call): string {
  const { prompt, echo } = body
  if (echo !== true) return ''
  return Array.isArray(prompt) ? stringOf((prompt as readonly Json[])[0]) : stringOf(prompt)
}

/** What is said in a message or a delta, a refusal included. Thoughts have no place in a completion. */
function spokenOf({ content, refusal }: JsonObject): string {
  const parts = objectsOf(content).map(({ text }) => stringOf(text))
  return stringOf(content) + parts.join('') + stringOf(refusal)
}

export interface Place {
  /** Text that comes before all of it. */
  readonly prefix: string
  /** Where the text begins, counted from the prompt's first character. */
  readonly offset: number
}

/** One choice of an inner answer, whole or in part. */
export function choiceOf(choice: JsonObject, member: 'message' | 'delta', { prefix, offset }: Place): JsonObject {
  const said = choice[member]
  return {
    text: prefix + (isObject(said) ? spokenOf(said) : ''),
    index: choice['index'] ?? 0,
    logprobs: logprobsOf(choice['logprobs'], offset),
    finish_reason: reasonOf(choice),
  }
}

/** How likely the words were, which completions tell in lists side by side. */
function logprobsOf(logprobs: Json | undefined, offset: number): Json {
  const tokens = isObject(logprobs) ? objectsOf(logprobs['content']) : []
  if (tokens.length === 0) return null
  let at = offset
  return {
    tokens: tokens.map(({ token }) => stringOf(token)),
    token_logprobs: tokens.map(({ logprob = null }) => logprob),
    top_logprobs: tokens.map(({ top_logprobs: others }) => likely(others)),
    text_offset: tokens.map(({ token }) => {
      const start = at
      at += stringOf(token).length
      return start
    }),
  }
}

function likely(others: Json | undefined): JsonObject {
  return Object.fromEntries(objectsOf(others).map(({ token, logprob = null }) => [stringOf(token), logprob]))
}

/** The whole answer as a completion. */
export function replyOf(call: Call, inner: JsonObject): JsonObject {
  const prefix = echoOf(call)
  const { usage } = inner
  return {
    ...baseOf(call),
    choices: objectsOf(inner['choices']).map((choice, index) =>
      choiceOf({ index, ...choice }, 'message', { prefix, offset: prefix.length }),
    ),
    ...(isObject(usage) && { usage }),
  }
}
