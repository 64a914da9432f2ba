import { isDeepStrictEqual } from 'node:util'
import type { Json, JsonObject } from '../../src/core/call.ts'
import type { Receipt } from '../../src/ports.ts'
import { vendorKey } from './gateway.ts'
import type { Entry, Expected, Metering } from './manifest.ts'
import { priceOf, tokensOf, type Tokens } from './price.ts'
import { sha256, type Reading } from './reader.ts'
import type { ReceivedRequest } from './recorded-vendor.ts'

/** Each check answers with what differs, a phrase for each difference; nothing where all is as it should be. */

const shownChars = 120

/** One difference, for people. */
function differs(what: string, actual: unknown, wanted: unknown): string {
  return `${what} is ${shown(actual)}, expected ${shown(wanted)}`
}

function shown(value: unknown): string {
  const text =
    JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner)) ?? 'absent'
  return text.length > shownChars ? `${text.slice(0, shownChars)}…` : text
}

/** Compares each member of `wanted` with that of `actual`. */
function compare<T extends object>(
  what: string,
  actual: T,
  wanted: { readonly [Name in keyof T]?: unknown },
): string[] {
  return Object.entries(wanted).flatMap(([name, value]) => {
    const found = (actual as Readonly<Record<string, unknown>>)[name]
    return isDeepStrictEqual(found, value) ? [] : [differs(`${what}${name}`, found, value)]
  })
}

/** Fields of a request that are the gateway's own or that it sets itself. */
const ownFields = [
  'stream',
  'stream_options',
  'models',
  'provider',
  'routing',
  'session_id',
  'cache',
  'tags',
  'sandbox',
]

/** A request without them. */
export function plain(body: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !ownFields.includes(name)))
}

/** One request reached the vendor, with our key and all that the caller said, for the vendor's own model. */
export function checkSent(requests: readonly ReceivedRequest[], asked: JsonObject, model: string): string[] {
  const [sent, ...more] = requests
  if (!sent || more.length > 0) return [`the vendor was called ${requests.length} times`]
  const { body, path, key } = sent
  return [
    ...(path === '/v1/chat/completions' ? [] : [`the vendor was called at ${path}`]),
    ...(key === vendorKey ? [] : ['the vendor was not given our key']),
    ...(isDeepStrictEqual(plain(body), { ...plain(asked), model })
      ? []
      : ['the vendor was not asked for what the caller asked for']),
  ]
}

/** What a manifest says of an answer, against what was read of it. Characters are code points. */
export function checkExpected(expected: Expected, reading: Reading): string[] {
  const { tool_calls: calls = [], choices = 1, ...rest } = expected
  // A text that the manifest does not speak of may be there; one that it knows of may not be longer.
  const reasoning = rest.text_chars !== undefined && rest.reasoning_chars === undefined ? { reasoning_chars: 0 } : {}
  const facts = {
    text_chars: Array.from(reading.text).length,
    text_sha256: sha256(reading.text),
    text: reading.text,
    reasoning_chars: Array.from(reading.reasoning).length,
    reasoning_sha256: sha256(reading.reasoning),
    finish: reading.finish,
    choices: reading.choices,
  }
  const read = reading.toolCalls.map((call, at) => ({
    ...call,
    id: calls[at]?.id === undefined ? undefined : (call.id ?? null),
  }))
  // A manifest that says nothing of what was said is no word against it.
  const isSilent = rest.text_chars === undefined && expected.tool_calls === undefined
  const wanted = calls.map(({ id, name, arguments: given }) => ({ id, name, arguments: given }))
  return [
    ...compare('', facts, { ...reasoning, ...rest, choices }),
    ...(isSilent || isDeepStrictEqual(read, wanted) ? [] : [differs('tool_calls', read, wanted)]),
  ]
}

/** Two answers that must say the same although one is a stream, or went through the gateway. */
export function checkSame(reading: Reading, original: Reading): string[] {
  const { text, reasoning, toolCalls, finish, choices } = original
  return compare('', reading, { text, reasoning, toolCalls, finish, choices })
}

/**
 * The vendor's objects reach the caller as they were but for the model's name, the usage and a null error; and but for
 * what SDKs cannot read: content in a list, tool calls without their index, roles that are none. What these say is
 * compared by `checkSame`.
 */
export function checkUntouched(reading: Reading, original: Reading): string[] {
  const hasChoices = ({ choices }: JsonObject): boolean => Array.isArray(choices) && choices.length > 0
  const got = reading.events.filter(hasChoices)
  const sent = original.events.filter(hasChoices)
  const at = sent.findIndex((event, index) => {
    const other = got[index]
    return !other || !isDeepStrictEqual(comparable(event, event), comparable(other, event))
  })
  if (at >= 0) return [differs(`event ${at}`, got[at], sent[at])]
  return got.length === sent.length ? [] : [differs('number of events', got.length, sent.length)]
}

/** What must have stayed of an object, by what the vendor sent. */
function comparable({ model: _, usage: __, error: ___, ...rest }: JsonObject, sent: JsonObject): JsonObject {
  const sentChoices = list(sent['choices'])
  const choices = list(rest['choices']).map((choice, at) => withoutRepairs(choice, sentChoices[at] ?? {}))
  return { ...rest, choices }
}

function list(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? (value as readonly JsonObject[]) : []
}

function withoutRepairs({ delta, message, ...choice }: JsonObject, sent: JsonObject): JsonObject {
  const { tool_calls: calls, ...said } = (delta ?? message ?? {}) as JsonObject
  const theirs = (sent['delta'] ?? sent['message'] ?? {}) as JsonObject
  const repaired = [
    ...(Array.isArray(theirs['content']) ? ['content', 'reasoning_content'] : []),
    ...(theirs['role'] === 'assistant' ? [] : ['role']),
  ]
  const kept = Object.fromEntries(Object.entries(said).filter(([name]) => !repaired.includes(name)))
  return { ...choice, said: kept, calls: list(calls).length }
}

/** Usage is the vendor's with its cost where it was asked for, and nowhere else. */
export function checkUsage(reading: Reading, original: Reading, cost: number | undefined): string[] {
  if (cost === undefined) {
    const told = reading.events.filter(({ usage }) => usage !== undefined).length
    return told === 0 ? [] : [differs('events with usage that was not asked for', told, 0)]
  }
  const wanted: Json | undefined = original.usage && { ...original.usage, cost }
  return isDeepStrictEqual(reading.usage, wanted) ? [] : [differs('usage', reading.usage, wanted)]
}

export function checkModel(reading: Reading, model: string): string[] {
  return reading.models.every((named) => named === model) ? [] : [differs('model', reading.models, [model])]
}

/** What a receipt must say of every call of one entry, and what it must cost. */
export interface Due {
  readonly outcome: string
  readonly source: string
  /** Undefined where the gateway's own count stands, which no manifest knows. */
  readonly tokens: Tokens | undefined
  readonly model: string
  /** Not compared where absent: of a stream that broke, the books may or may not know one. */
  readonly finish?: string | undefined
}

/** What is due for an answer that is whole. */
export function dueFor(
  model: string,
  metering: Metering | undefined,
  { usage, finish }: { usage: Entry['usage']; finish: string | undefined },
): Due {
  // Of a prompt that was still in its memory a vendor says nothing.
  if (usage?.['eval_count'] !== undefined && usage['prompt_eval_count'] === undefined)
    return { outcome: 'complete', source: 'vendor_partial', tokens: undefined, model, finish }
  // A vendor that says that nothing was read has not counted; one that leaves zeros out has, and bills nothing.
  const isTold = metering && (metering.input + metering.output > 0 || usage?.['trafficType'] !== undefined)
  const tokens = isTold ? tokensOf(metering, usage) : undefined
  return { outcome: 'complete', source: tokens ? 'vendor' : 'counted', tokens, model, finish }
}

export function tokensIn({ counts }: Receipt): Tokens {
  return {
    input: counts.input ?? 0,
    cached_input: counts.cached_input ?? 0,
    cache_write_5m: counts.cache_write_5m ?? 0,
    cache_write_1h: counts.cache_write_1h ?? 0,
    output: counts.output ?? 0,
    reasoning: counts.reasoning ?? 0,
    audio_input: counts.audio_input ?? 0,
    audio_output: counts.audio_output ?? 0,
    search: counts.search ?? 0,
    advisor_input: counts.advisor_input ?? 0,
    advisor_cached_input: counts.advisor_cached_input ?? 0,
    advisor_output: counts.advisor_output ?? 0,
  }
}

/** The books against the manifest: outcome, source, each count, and the charge by prices computed here. */
export function checkReceipt(receipt: Receipt, { tokens, ...facts }: Due): string[] {
  const counted = tokensIn(receipt)
  const due = tokens ? { ...counted, ...tokens } : counted
  return [
    ...compare('receipt ', receipt, facts),
    ...compare('metered ', counted, tokens ?? {}),
    ...compare('receipt ', receipt, { charge: priceOf(due), priced: priceOf(due) }),
  ]
}

/** A local count covers the prompt always and the answer where there is one. */
export function checkCounted(receipt: Receipt, { text, reasoning, toolCalls }: Reading): string[] {
  const { input, output } = tokensIn(receipt)
  const hasAnswer = text !== '' || reasoning !== '' || toolCalls.length > 0
  return [
    ...(input > 0 ? [] : ['the prompt was counted as nothing']),
    ...(output > 0 === hasAnswer ? [] : [differs('counted output', output, hasAnswer ? 'more than 0' : 0)]),
    ...(receipt.tokenizer === undefined ? ['the receipt names no tokenizer'] : []),
  ]
}

/** Words for an account of ours that the vendor will not serve, whatever status they come with. */
const accountWords =
  /insufficient_quota|billing|arrear|overdue|invalid_?api_?key|account_deactivated|accessdenied|provider_quota/i
const modelWords =
  /model.{0,3}not.{0,3}(found|exist|open)|invalidendpoint|currently_not_support|not_(chat|workflow)_app|not_published/i

/** The status that a caller gets for a vendor's error: his own faults as they are, ours as ours, the vendor's as 502. */
export function statusFor(status: number, body: string): number {
  const code = errorCodes(body)
  if (status >= 500 || status === 408 || status === 409) return 502
  if (status === 401 || status === 402 || status === 403 || accountWords.test(code)) return 503
  if (status === 400 && /incorrect api key/i.test(body)) return 503
  if (status === 404 || modelWords.test(code) || /model identifier is invalid/i.test(body)) return 503
  return status
}

function errorCodes(body: string): string {
  const { code, type } = errorIn(body) ?? {}
  return `${String(code ?? '')} ${String(type ?? '')}`
}

function errorIn(body: string): JsonObject | undefined {
  try {
    const value = JSON.parse(body) as { readonly error?: JsonObject }
    return value.error ?? (value as JsonObject)
  } catch {
    return undefined // A proxy's error page is no JSON: the status alone decides.
  }
}

export interface Refusal {
  readonly status: number
  readonly text: string
  readonly retryAfter: string | undefined
}

/** The envelope of a refusal, and that nothing about our own account at the vendor is told. */
export function checkRefusal(answer: Refusal, wanted: number, vendorBody: string): string[] {
  const error = errorIn(answer.text)
  const { message, type } = error ?? {}
  const isEnvelope =
    typeof message === 'string' && message !== '' && typeof type === 'string' && error?.['code'] !== undefined
  const vendorMessage = errorIn(vendorBody)?.['message']
  const isLeaked = wanted === 503 && typeof vendorMessage === 'string' && answer.text.includes(vendorMessage)
  return [
    ...(answer.status === wanted ? [] : [differs('status', answer.status, wanted)]),
    ...(isEnvelope ? [] : [differs('error', answer.text, 'an error with message, type and code')]),
    ...(isLeaked ? ['what the vendor says of our account is told to the caller'] : []),
    ...(wanted === 429 && !/^[1-9]\d*$/.test(answer.retryAfter ?? '')
      ? [differs('retry-after', answer.retryAfter, 'seconds')]
      : []),
  ]
}
