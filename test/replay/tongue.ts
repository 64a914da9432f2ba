import type { Dialect, JsonObject } from '../../src/core/call.ts'
import type { Reading } from './reader.ts'

/** How callers of one dialect ask and what they read, written down here a second time: nothing uses the gateway's own. */
export interface Tongue {
  /** The kind of its recordings. */
  readonly kind: string
  readonly dialect: Dialect
  /** Where the gateway has it. */
  path(model: string, stream: boolean): string
  /** Where its vendors have it, under their base URL. */
  vendorPath(model: string, stream: boolean): string
  /** A plain request. */
  request(asked: Form): JsonObject
  /** The same request in another form. */
  inForm(body: JsonObject, asked: Form): JsonObject
  readStream(bytes: Uint8Array): Reading
  readBody(bytes: Uint8Array): Reading
  /** An event without what the gateway may write into it: its own name of the model, the cost. */
  bare(event: JsonObject): JsonObject
  /** All that was read and generated, as the usage tells it. */
  totals(usage: JsonObject): Totals
  /** A finish in the words of the inner language. */
  finishClass(reading: Pick<Reading, 'finish' | 'toolCalls'>): string | undefined
  /** The message of an error answer in this dialect's form; undefined where it has another form. */
  errorMessage(body: JsonObject): string | undefined
}

export interface Form {
  readonly model: string
  readonly stream: boolean
}

export interface Totals {
  readonly input: number
  readonly output: number
}

/** A number of a usage object; what is none is 0. */
export function countOf(usage: JsonObject, name: string): number {
  const value = usage[name]
  return typeof value === 'number' ? value : 0
}

/** What every dialect means by it. */
export function classOf(
  { finish, toolCalls }: Pick<Reading, 'finish' | 'toolCalls'>,
  words: Readonly<Record<string, string>>,
): string | undefined {
  if (finish === undefined) return undefined
  const said = Object.hasOwn(words, finish) ? words[finish] : finish
  // Some say no more than that they have stopped, and the calls speak for themselves.
  return said === 'stop' && toolCalls.length > 0 ? 'tool_calls' : said
}
