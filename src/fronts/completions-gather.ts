import type { Call, Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { ServerEvent } from '../core/sse.ts'
import { finishOf, isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { baseOf } from './completions-answer.ts'
import type { Gatherer } from './front.ts'

/** 32 MiB of events: a text answer of a million tokens has some 5 million characters. */
const defaultMaxBytes = 32 * 1024 * 1024
const maxChoices = 2_048

interface Growing {
  readonly text: string[]
  readonly logprobs: Map<string, Json[]>
  readonly others: Map<string, Json>
  finish: string | null
}

interface State {
  top: JsonObject
  usage: JsonObject | undefined
  readonly choices: Map<number, Growing>
  bytes: number
}

/** Makes the body of a completion out of its chunks; every string in it is as it came. */
export function createCompletionGatherer(call: Call, maxBytes: number = defaultMaxBytes): Gatherer {
  const state: State = { top: {}, usage: undefined, choices: new Map(), bytes: 0 }
  return {
    add({ data }: ServerEvent) {
      state.bytes += data.length
      if (state.bytes > maxBytes)
        throw new GatewayError('vendor_error', 'The vendor sent more than one answer can hold.')
      const chunk = parseJson(data)
      if (isObject(chunk)) take(state, chunk)
    },
    body: (finish) => bodyOf(state, call, finish),
  }
}

function take(state: State, { choices, usage, ...top }: JsonObject): void {
  state.top = { ...top, ...state.top }
  if (isObject(usage)) state.usage = usage
  for (const [position, choice] of objectsOf(choices).entries()) grow(state, choice, position)
}

function grow({ choices }: State, choice: JsonObject, position: number): void {
  const { index, text, logprobs, finish_reason: _, ...others } = choice
  const at = typeof index === 'number' ? index : position
  const known: Growing = choices.get(at) ?? { text: [], logprobs: new Map(), others: new Map(), finish: null }
  if (!choices.has(at) && choices.size >= maxChoices)
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxChoices} choices.`)
  choices.set(at, known)
  if (stringOf(text) !== '') known.text.push(stringOf(text))
  known.finish = finishOf(choice) ?? known.finish
  for (const [name, value] of Object.entries(others)) known.others.set(name, value ?? null)
  for (const [name, list] of Object.entries(isObject(logprobs) ? logprobs : {})) {
    if (isList(list)) known.logprobs.set(name, [...(known.logprobs.get(name) ?? []), ...list])
  }
}

function bodyOf({ top, usage, choices }: State, call: Call, finish: string | undefined): JsonObject {
  const ordered = [...choices]
    .toSorted(([a], [b]) => a - b)
    .map(([index, { text, logprobs, others, finish: ended }]) => ({
      ...Object.fromEntries(others),
      text: text.join(''),
      index,
      logprobs: logprobs.size > 0 ? Object.fromEntries(logprobs) : null,
      finish_reason: ended ?? finish ?? null,
    }))
  const nothing = { text: '', index: 0, logprobs: null, finish_reason: finish ?? null }
  return {
    ...baseOf(call),
    ...top,
    model: call.model,
    choices: ordered.length === 0 && finish !== undefined ? [nothing] : ordered,
    ...(usage && { usage }),
  }
}
