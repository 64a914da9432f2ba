import { createHash } from 'node:crypto'
import type { Json, JsonObject } from '../../src/core/call.ts'

/*
 * Reads what a caller got, independently: nothing here uses the gateway's own parsers, so that a fault in them cannot
 * hide itself.
 */

/** A tool call of the first choice, its arguments parsed; text that is no JSON stays text. */
export interface ReadCall {
  readonly id: string | undefined
  readonly name: string
  readonly arguments: Json
}

/** What an answer says. Texts and tool calls are those of choice 0. */
export interface Reading {
  readonly text: string
  readonly reasoning: string
  readonly toolCalls: readonly ReadCall[]
  readonly finish: string | undefined
  readonly choices: number
  /** The last usage object. */
  readonly usage: JsonObject | undefined
  /** Every model that the answer names. */
  readonly models: readonly string[]
  readonly error: JsonObject | undefined
  /** The closing event of a stream has come; a body is always whole. */
  readonly isDone: boolean
  /** The objects that the answer is made of, in order: the events of a stream, or the one body. */
  readonly events: readonly JsonObject[]
}

/** Of a stream. Throws where it is not one of server-sent events with JSON in them. */
export function readStream(bytes: Uint8Array): Reading {
  const payloads = payloadsOf(bytes)
  const events = payloads.filter((payload) => payload.trim() !== '[DONE]').map(objectIn)
  return { ...readEvents(events, 'delta'), isDone: payloads.at(-1)?.trim() === '[DONE]' }
}

/** Of an unstreamed answer. Throws where it is not JSON. */
export function readBody(bytes: Uint8Array): Reading {
  return { ...readEvents([objectIn(decode(bytes))], 'message'), isDone: true }
}

export function decode(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
}

/** The data of each event, by the rules of the HTML standard; an event that the end cuts off counts too. */
export function payloadsOf(bytes: Uint8Array): string[] {
  const payloads: string[] = []
  let data: string[] = []
  for (const line of [...decode(bytes).split(/\r\n|\n|\r/), '']) {
    if (line === '') {
      if (data.length > 0) payloads.push(data.join('\n'))
      data = []
    } else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''))
  }
  return payloads
}

export function objectIn(text: string): JsonObject {
  const value = JSON.parse(text) as Json
  if (!isObject(value)) throw new Error(`not a JSON object: ${text.slice(0, 100)}`)
  return value
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function list(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter(isObject) : []
}

export function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

interface OpenCall {
  id: string | undefined
  name: string
  arguments: string
}

function readEvents(events: readonly JsonObject[], part: 'delta' | 'message'): Omit<Reading, 'isDone'> {
  const seen = { text: '', reasoning: '', finish: undefined as string | undefined, indexes: new Set<number>() }
  const calls = new Map<number, OpenCall>()
  for (const event of events) {
    for (const [position, choice] of list(event['choices']).entries()) {
      const index = typeof choice['index'] === 'number' ? choice['index'] : position
      seen.indexes.add(index)
      if (index !== 0) continue
      seen.finish = text(choice['finish_reason']) || seen.finish
      const message = choice[part]
      if (!isObject(message)) continue
      seen.text += contentOf(message['content'])
      seen.reasoning +=
        text(message['reasoning_content']) || text(message['reasoning']) || thoughtIn(message['content'])
      for (const [at, call] of list(message['tool_calls']).entries()) addCall(calls, call, at)
    }
  }
  return {
    text: seen.text,
    reasoning: seen.reasoning,
    finish: seen.finish,
    toolCalls: [...calls].sort(([a], [b]) => a - b).map(([, call]) => ({ ...call, arguments: parsed(call.arguments) })),
    choices: seen.indexes.size,
    usage: events.map(usageIn).findLast(isObject),
    models: [...new Set(events.map(({ model }) => text(model)).filter((model) => model !== ''))],
    error: events.map(({ error }) => error).find(isObject),
    events,
  }
}

/** Some vendors put it into the choice that ends, or into an extension of their own. */
function usageIn({ usage, choices, x_groq: extension }: JsonObject): Json | undefined {
  return [
    usage,
    ...list(choices).map((choice) => choice['usage']),
    isObject(extension) ? extension['usage'] : undefined,
  ].find(isObject)
}

function contentOf(content: Json | undefined): string {
  return (
    text(content) +
    list(content)
      .map((part) => text(part['text']))
      .join('')
  )
}

function addCall(calls: Map<number, OpenCall>, piece: JsonObject, position: number): void {
  const index = typeof piece['index'] === 'number' ? piece['index'] : position
  const call = calls.get(index) ?? { id: undefined, name: '', arguments: '' }
  calls.set(index, call)
  const named = isObject(piece['function']) ? piece['function'] : {}
  // The first real one stands: some vendors repeat it as ''.
  if (!call.id && typeof piece['id'] === 'string') call.id = piece['id']
  call.name ||= text(named['name'])
  call.arguments += text(named['arguments'])
}

export function parsed(argumentsText: string): Json {
  try {
    return JSON.parse(argumentsText) as Json
  } catch {
    return argumentsText // A model may write arguments that are no JSON; they are compared as they are.
  }
}

/** What is thought in parts of the content. */
function thoughtIn(content: Json | undefined): string {
  return list(content)
    .flatMap((part) => list(part['thinking']))
    .map((thought) => text(thought['text']))
    .join('')
}

/** Of the UTF-8 bytes, in hex. */
export function sha256(value: string): string {
  return createHash('sha256').update(value, 'utf8').digest('hex')
}
