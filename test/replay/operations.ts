import { isDeepStrictEqual } from 'node:util'
import type { Json, JsonObject } from '../../src/core/call.ts'
import { wav } from '../support/operations.ts'
import type { CallerAnswer } from './gateway.ts'
import { vendorKey } from './gateway.ts'
import { priceOfCounts } from './price.ts'
import type { Bench, Recording } from './run.ts'

/*
 * Recordings of what is no conversation: a vector, a picture, a recording, a ranking. Each is asked for once, in its
 * vendor's own words where it speaks a dialect of callers and in OpenAI's where it does not.
 */

/** Entries that cannot be asked for here, each with its reason. */
const unasked: Readonly<Record<string, string>> = {
  'embeddings-sync-plain-79e49e': 'the first version of an API, of which the second is spoken',
  'rerank-sync-plain-2b821a': 'the first version of an API, of which the second is spoken',
}
const kinds: ReadonlySet<string> = new Set(['embeddings', 'images', 'audio', 'rerank', 'moderations'])
const decoder = new TextDecoder()
const encoder = new TextEncoder()
const spoken = 2

export function isOperationKind(kind: string): boolean {
  return kinds.has(kind)
}

/** Why an entry is not replayed; undefined where it is. */
export function whyNoOperation(id: string): string | undefined {
  return unasked[id]
}

/** For an entry without a request: a form with a recording, whose own is not there. */
export const recordingRequest = (model: string): JsonObject => ({ model, file: 'recording' })

/** Replays one entry. Resolves to what differed; never rejects for a gateway's fault. */
export async function replayOperation(bench: Bench, recording: Recording): Promise<readonly string[]> {
  try {
    return await replayed(bench, recording)
  } catch (error) {
    return [`stopped: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`]
  }
}

async function replayed({ gateway, vendor }: Bench, recording: Recording): Promise<readonly string[]> {
  const { entry, response } = recording
  const asked = askingFor(recording)
  const type = entry.response_format === 'sse' ? 'text/event-stream' : 'application/json'
  const headers = { ...entry.response_headers, 'content-type': type }
  vendor.play({ status: entry.status, headers, pieces: [response], isSlow: false })
  const before = await gateway.balance()
  const answer = await gateway.ask(asked.body, asked.path, asked.type)
  const [sent, ...more] = vendor.received()
  const faults = await gateway.settled()
  const paid = before - (await gateway.balance())
  const called = sent && more.length === 0 ? [] : [`the vendor was called ${more.length + (sent ? 1 : 0)} times`]
  const key = sent?.key === vendorKey ? [] : ['the vendor was not given our key']
  if (entry.status >= 300) return [...called, ...key, ...faults, ...refused(answer, paid)]
  const id = answer.headers['x-request-id']
  const receipt = typeof id === 'string' ? await gateway.receipt(id) : undefined
  const due = dueFor(recording)
  const counts = due ?? receipt?.counts ?? {}
  const wanted = { outcome: 'complete', charge: priceOfCounts(counts), source: due ? 'vendor' : receipt?.source }
  const { outcome, charge, source } = receipt ?? {}
  return [
    ...called,
    ...key,
    ...faults,
    ...(answer.status === 200 ? [] : [`status ${answer.status}: ${decoder.decode(answer.bytes).slice(0, 300)}`]),
    ...differs('answer', contentOf(answer, recording), contentDue(recording)),
    ...differs('counts', plain(receipt?.counts), plain(counts)),
    ...differs('receipt', { outcome, charge: `${charge}`, source }, { ...wanted, charge: `${wanted.charge}` }),
    ...(due === undefined && receipt?.source === 'vendor' ? ['a count that no vendor has told'] : []),
    ...(paid === charge ? [] : [`the balance fell by ${paid}, the receipt says ${charge}`]),
    ...(Object.keys(counts).length > 0 ? [] : ['nothing was counted']),
  ]
}

function refused({ status }: CallerAnswer, paid: bigint): readonly string[] {
  return [...(status >= 400 ? [] : [`status ${status} for a refusal`]), ...(paid === 0n ? [] : [`${paid} was charged`])]
}

function plain(counts: Readonly<Record<string, number | undefined>> = {}): JsonObject {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined && count > 0))
}

function differs(what: string, actual: unknown, wanted: unknown): readonly string[] {
  if (isDeepStrictEqual(actual, wanted)) return []
  return [`${what} is ${JSON.stringify(actual)?.slice(0, 200)}, expected ${JSON.stringify(wanted)?.slice(0, 200)}`]
}

interface Asking {
  readonly path: string
  readonly body: Uint8Array
  readonly type?: string
}

const json = (body: JsonObject): Uint8Array => encoder.encode(JSON.stringify(body))

function askingFor({ entry, asked, model }: Recording): Asking {
  if (entry.kind === 'moderations') return { path: '/v1/moderations', body: json(asked) }
  if (entry.kind === 'rerank') return { path: '/v1/rerank', body: json(asked) }
  if (entry.kind === 'images') {
    const path = asked['images'] === undefined ? '/v1/images/generations' : '/v1/images/edits'
    return { path, body: json(asked) }
  }
  if (entry.kind === 'audio')
    return asked['input'] === undefined ? form(model, entry.streaming) : { path: '/v1/audio/speech', body: json(asked) }
  if (asked['requests'] !== undefined) return { path: `/v1beta/models/${model}:batchEmbedContents`, body: json(asked) }
  return { path: '/v1/embeddings', body: json(inOpenai(asked, model)) }
}

/** Requests in vendors' own words that no caller speaks. */
function inOpenai(asked: JsonObject, model: string): JsonObject {
  if (asked['texts'] !== undefined) return { model, input: asked['texts'] }
  const { content } = asked as { readonly content?: { readonly parts: readonly { readonly text: string }[] } }
  return content ? { model, input: content.parts.map(({ text }) => text) } : asked
}

function form(model: string, stream: boolean): Asking {
  const boundary = 'replay'
  const field = (name: string, value: string) =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const head = `${field('model', model)}${stream ? field('stream', 'true') : ''}--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n`
  const body = Buffer.concat([Buffer.from(head), wav(spoken), Buffer.from(`\r\n--${boundary}--\r\n`)])
  return {
    path: '/v1/audio/transcriptions',
    body: new Uint8Array(body),
    type: `multipart/form-data; boundary=${boundary}`,
  }
}

type Loose = Readonly<Record<string, unknown>>

/** What of the answer is the vendor's: all but names and usage. */
function contentOf({ bytes }: CallerAnswer, { asked, entry }: Recording): unknown {
  if (isSpeech(asked)) return Buffer.from(bytes).toString('base64')
  if (entry.streaming) return eventsOf(bytes)
  return comparable(JSON.parse(decoder.decode(bytes)) as Loose)
}

function contentDue({ asked, response, entry }: Recording): unknown {
  if (entry.streaming) return eventsOf(response)
  const body = JSON.parse(decoder.decode(response)) as Loose
  if (isSpeech(asked)) return body['audio_data']
  return comparable(body)
}

function isSpeech({ voice }: JsonObject): boolean {
  return voice !== undefined
}

function eventsOf(bytes: Uint8Array): readonly unknown[] {
  return payloadsOf(bytes).map(({ usage: _, ...rest }) => rest)
}

function payloadsOf(bytes: Uint8Array): readonly Loose[] {
  const lines = decoder.decode(bytes).split(/\r?\n/)
  return lines.filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)) as Loose)
}

/** Vectors as numbers in whichever form they come, and all else as it is. */
function comparable(body: Loose): unknown {
  const vectors = vectorsOf(body)
  if (vectors) return vectors
  const { model: _, usage: __, ...rest } = body
  return rest
}

function vectorsOf({ data, embeddings, embedding }: Loose): readonly unknown[] | undefined {
  if (embedding !== undefined) return [(embedding as Loose)['values']]
  if (Array.isArray(embeddings)) return (embeddings as readonly Loose[]).map(({ values }) => values)
  if (embeddings !== undefined) return (embeddings as Loose)['float'] as readonly unknown[]
  const items = Array.isArray(data) ? (data as readonly Loose[]) : []
  if (items.length === 0 || items.some((item) => item['embedding'] === undefined)) return undefined
  return items.map((item) =>
    typeof item['embedding'] === 'string' ? smallNumbers(item['embedding']) : item['embedding'],
  )
}

/** Of a recording in signed bytes; floats in base64 are compared as their bytes too. */
function smallNumbers(base64: string): readonly number[] {
  return [...new Int8Array(Buffer.from(base64, 'base64'))]
}

/** What the vendor has told of its use, as the receipt must have it; undefined where it has told nothing. */
function dueFor({ entry, response }: Recording): Readonly<Record<string, number>> | undefined {
  // A stream tells it in its last event, which the manifest does not read.
  const body = entry.streaming ? (payloadsOf(response).at(-1) ?? {}) : (JSON.parse(decoder.decode(response)) as Loose)
  const { data, duration } = body as { readonly data?: readonly Loose[]; readonly duration?: number }
  const usage = (entry.usage ?? body['usage'] ?? {}) as Readonly<Record<string, Json>>
  const google = body['usageMetadata'] as { readonly promptTokenCount?: number } | undefined
  if (google?.promptTokenCount !== undefined) return { input: google.promptTokenCount }
  const images = entry.kind === 'images' ? { image: data?.length ?? 0 } : {}
  const seconds = usage['prompt_audio_seconds'] ?? duration
  const told = { ...tokensDue(usage), ...images, ...(typeof seconds === 'number' && { second: Math.ceil(seconds) }) }
  return Object.values(told).some((count) => count > 0) ? told : undefined
}

function tokensDue(usage: Readonly<Record<string, Json>>): Readonly<Record<string, number>> {
  const at = (...path: readonly string[]): number => {
    let value: unknown = usage
    for (const name of path) value = (value as Loose | null | undefined)?.[name]
    return typeof value === 'number' ? value : 0
  }
  const inside = ['input_tokens_details', 'input_token_details'].find((name) => usage[name] !== undefined) ?? ''
  const audio = at(inside, 'audio_tokens') + at('prompt_tokens_details', 'audio_tokens')
  const picture = at(inside, 'image_tokens')
  const isOutside = at('prompt_tokens') > 0 && audio > at('prompt_tokens')
  const input = at('input_tokens') || at('prompt_tokens') || at('billed_units', 'input_tokens') || at('total_tokens')
  const made = at('output_tokens') + at('completion_tokens')
  const hasDetails = usage['output_tokens_details'] !== undefined
  const drawn = at('output_tokens_details', 'image_tokens') + (at('generated_images') > 0 && !hasDetails ? made : 0)
  const isTotal = input === at('total_tokens') && made > 0
  return {
    input: isTotal ? 0 : isOutside ? input : input - audio - picture,
    audio_input: audio,
    image_input: picture,
    output: made - drawn,
    image_output: drawn,
    search: at('billed_units', 'search_units'),
  }
}
