import type { Json, JsonObject } from '../core/call.ts'
import type { PromptText } from '../core/prompt.ts'
import { utf8Length } from '../core/prompt.ts'
import { isObject } from '../core/wire.ts'
import { wrong } from './body.ts'

/* Fields of requests that are no conversations. All throw `invalid_value` that names the field. */

const maxModelLength = 256

export function readModel(body: JsonObject): string {
  const model = body['model']
  if (model === undefined || model === null) throw wrong('model', 'Name a model in "model". GET /v1/models lists them.')
  if (typeof model !== 'string' || model === '') throw wrong('model', '"model" must be a string that is not empty.')
  if (model.length > maxModelLength) throw wrong('model', `"model" is longer than ${maxModelLength} characters.`)
  return model
}

/** A text that must be there. */
export function readText(body: JsonObject, name: string): string {
  const value = body[name]
  if (typeof value === 'string' && value !== '') return value
  throw wrong(name, `"${name}" must be a string that is not empty.`)
}

/** One of some words; null is as good as absent. */
export function readWord<const Word extends string>(
  body: JsonObject,
  name: string,
  words: readonly Word[],
): Word | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  const word = words.find((each) => each === value)
  if (word !== undefined) return word
  throw wrong(name, `"${name}" must be one of ${words.map((each) => `"${each}"`).join(', ')}.`)
}

/** A whole number from 1 to `max`; null is as good as absent. */
export function readCount(body: JsonObject, name: string, max: number): number | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value
  throw wrong(name, `"${name}" must be a whole number from 1 to ${max}.`)
}

export function readFlag(body: JsonObject, name: string): boolean | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'boolean') return value
  throw wrong(name, `"${name}" must be true or false.`)
}

interface MorePrompt {
  /** Tokens that no tokenizer counts. */
  readonly fixedTokens?: number
  /** By how much a vendor's count may lie above texts and fixed tokens. */
  readonly slack?: number
}

/** What is read as tokens. */
export function promptOf(texts: readonly string[], { fixedTokens = 0, slack = 0 }: MorePrompt = {}): PromptText {
  const bytes = texts.reduce((sum, text) => sum + utf8Length(text), 0)
  return { texts: texts.filter((text) => text !== ''), fixedTokens, upperBound: bytes + fixedTokens + slack }
}

/** OpenAI's published figure for a picture of 1024 × 2048 pixels at high detail. */
export const pictureTokens = 1_105

/** Texts and pictures in a part of an input that is not text alone. */
export function readPart(at: string, part: Json): { readonly text: string; readonly pictures: number } {
  if (typeof part === 'string') return { text: part, pictures: 0 }
  if (!isObject(part)) throw wrong(at, `"${at}" must be a string or a part with a "type".`)
  if (typeof part['text'] === 'string') return { text: part['text'], pictures: 0 }
  return { text: '', pictures: 1 }
}
