import { isDeepStrictEqual } from 'node:util'
import type { JsonObject } from '../../src/core/call.ts'
import { checkExpected, checkModel, checkSame, dueFor, plain, statusFor, type Due } from './checks.ts'
import { cutsOf } from './cuts.ts'
import { brokenDue, nothingDue } from './entry.ts'
import { gatheredName, type CallerAnswer, vendorKey } from './gateway.ts'
import type { Reading } from './reader.ts'
import type { ReceivedRequest } from './recorded-vendor.ts'
import { Run, type Answer, type Bench, type Recording } from './run.ts'
import type { Tongue } from './tongue.ts'

/*
 * Recordings of a vendor that speaks the caller's dialect, other than chat completions: the bytes go by. Each call is
 * made as it was recorded, in pieces, and in the other form.
 */

const decoder = new TextDecoder()

/** Replays one entry in every way that there is for it. Resolves to what differed; never rejects for a gateway's fault. */
export async function replayNative(bench: Bench, recording: Recording, tongue: Tongue): Promise<readonly string[]> {
  const run = new Run(bench, recording)
  const native: Native = { run, tongue, recording }
  try {
    const { entry } = recording
    if (entry.status < 200 || entry.status >= 300) await refusal(native)
    else if (entry.streaming) await streamed(native)
    else await whole(native)
    await run.settle()
  } catch (error) {
    run.note('stopped', [error instanceof Error ? `${error.name}: ${error.message}` : String(error)])
  }
  return run.differences
}

interface Native {
  readonly run: Run
  readonly tongue: Tongue
  readonly recording: Recording
}

interface Way {
  readonly label: string
  /** The recorded request where absent. */
  readonly body?: JsonObject
  readonly model?: string
  /** What the caller wants, and what he gets because of it. */
  readonly stream: boolean
  readonly pieces?: readonly Uint8Array[]
}

async function ask({ run, tongue, recording }: Native, way: Way): Promise<Answer> {
  const { label, body, model = recording.model, stream, pieces } = way
  return run.ask({
    label,
    path: tongue.path(model, stream),
    sent: (requests) => checkSent(tongue, { requests, asked: body ?? recording.asked, model: recording.model }),
    // So that a model's own name in the body is the one that is asked for.
    ...(body && { body }),
    ...(pieces && { pieces, isSlow: pieces.length === 2 }),
    mayBeRefused: recording.entry.status >= 300,
  })
}

interface Sent {
  readonly requests: readonly ReceivedRequest[]
  readonly asked: JsonObject
  readonly model: string
}

/** One request, at the vendor's own path, with our key and the caller's own words. */
function checkSent(tongue: Tongue, { requests, asked, model }: Sent): string[] {
  const [sent, ...more] = requests
  if (!sent || more.length > 0) return [`the vendor was called ${requests.length} times`]
  const said = ({ model: _, ...body }: JsonObject): JsonObject => plain(body)
  const isThere = [true, false].some((stream) => pathOf(sent.path).endsWith(pathOf(tongue.vendorPath(model, stream))))
  return [
    ...(isThere ? [] : [`the vendor was called at ${sent.path}`]),
    ...(sent.key === vendorKey ? [] : ['the vendor was not given our key']),
    ...('model' in sent.body && sent.body['model'] !== model ? ['the vendor was asked for another model'] : []),
    ...(isDeepStrictEqual(said(sent.body), said(asked))
      ? []
      : ['the vendor was not asked for what the caller asked for']),
  ]
}

function pathOf(url: string): string {
  return url.split('?')[0] ?? ''
}

async function streamed(native: Native): Promise<void> {
  const { run, tongue, recording } = native
  const { entry, response, model } = recording
  const original = tongue.readStream(response)
  const label = 'in one piece'
  const answer = await ask(native, { label, stream: true })
  if (original.error) return broken(native, answer, original)
  const due = dueOf(recording, original)
  await run.made({ label, due, reading: original }, answer)
  const reading = readAs(tongue, answer, true)
  run.note(label, typeof reading === 'string' ? [reading] : checkPassed(native, reading, original))
  if (typeof reading !== 'string') run.note(label, await checkCost(native, answer, reading))
  await cut(native, { answer, due, original })
  for (const name of [model, gatheredName(model)]) {
    const body = tongue.inForm(recording.asked, { model: name, stream: false })
    await other(native, { label: `gathered as ${name}`, body, model: name, stream: false }, { due, original })
  }
  if (entry.expect === undefined) run.note(label, ['the manifest says nothing of the answer'])
}

/** A stream that holds an error: the caller hears of it, as a status or in the stream, and it does not end as if whole. */
async function broken({ run, tongue, recording }: Native, answer: CallerAnswer, reading: Reading): Promise<void> {
  const { model } = recording
  const failed = { ...nothingDue, outcome: 'vendor_failed', model }
  const due = answer.status >= 400 ? failed : brokenOff(recording, reading)
  await run.made({ label: 'in one piece', due, reading: answer.status >= 400 ? undefined : reading }, answer)
  if (answer.status >= 400) return
  const { error, isDone } = tongue.readStream(answer.bytes)
  run.note('in one piece', [
    ...(error ? [] : ['the caller is not told that the stream broke']),
    ...(isDone ? ['the stream ends as if it were whole'] : []),
  ])
}

/** A count that came before some of the text says too little: then the gateway's own stands. */
export function brokenOff(recording: Recording, { events }: Reading): Due {
  const due = brokenDue(recording)
  const isFresh = events.slice(-2).some(({ usage, choices }) => usage !== undefined || choices !== undefined)
  return isFresh || due.source === 'counted' ? due : { ...due, source: 'counted', tokens: undefined }
}

function dueOf({ model, entry }: Recording, { finish }: Reading): Due {
  const { finish: word, ...due } = dueFor(model, entry.metering ?? undefined, { usage: entry.usage, finish })
  return word === undefined ? due : { ...due, finish: word }
}

/** What was read, or why it could not be. */
function readAs(tongue: Tongue, { status, bytes }: CallerAnswer, stream: boolean): Reading | string {
  if (status !== 200) return `status ${status}: ${decoder.decode(bytes).slice(0, 300)}`
  return stream ? tongue.readStream(bytes) : tongue.readBody(bytes)
}

function checkPassed({ tongue, recording }: Native, reading: Reading, original: Reading): string[] {
  const { entry, model } = recording
  const got = reading.events.map(tongue.bare)
  const sent = original.events.map(tongue.bare)
  const at = sent.findIndex((event, index) => !isDeepStrictEqual(event, got[index]))
  return [
    ...(reading.isDone ? [] : ['the stream has no end']),
    ...(reading.error ? ['the answer holds an error'] : []),
    ...checkExpected(entry.expect ?? {}, reading),
    ...checkSame(reading, original),
    ...checkModel(reading, model),
    ...(at < 0 ? [] : [`event ${at} is ${JSON.stringify(got[at])}, expected ${JSON.stringify(sent[at])}`]),
    ...(got.length === sent.length ? [] : [`${got.length} events, expected ${sent.length}`]),
    ...checkUsage(reading, original),
  ]
}

/** The vendor's own numbers, with our cost beside them. */
function checkUsage({ usage }: Reading, original: Reading): string[] {
  const { cost: _, ...told } = usage ?? {}
  const { cost: __, ...wanted } = original.usage ?? {}
  return isDeepStrictEqual(told, wanted) ? [] : [`usage is ${JSON.stringify(told)}, expected ${JSON.stringify(wanted)}`]
}

/** A stream tells in its last usage what the books say. */
async function checkCost({ run }: Native, { headers }: CallerAnswer, { usage }: Reading): Promise<string[]> {
  if (!usage) return []
  const generation = await run.bench.gateway.get(`/v1/generation?id=${String(headers['x-request-id'])}`)
  const cost = Number(generation['cost'])
  return usage['cost'] === cost ? [] : [`the cost is told as ${String(usage['cost'])}, the books say ${cost}`]
}

interface Streamed {
  readonly answer: CallerAnswer
  readonly due: Due
  readonly original: Reading
}

/** However the vendor's bytes are cut, the caller gets the same bytes. */
async function cut(native: Native, { answer: first, due, original }: Streamed): Promise<void> {
  const { run, recording } = native
  const { response, entry } = recording
  const cuts = cutsOf(response.length, entry.id, run.bench.cuts)
  const ways = [
    { label: 'byte by byte', pieces: Array.from(response, (byte) => Uint8Array.of(byte)) },
    ...cuts.map((at) => ({ label: `cut at ${at}`, pieces: [response.subarray(0, at), response.subarray(at)] })),
  ]
  for (const { label, pieces } of ways) {
    if (run.isHopeless) return
    const answer = await ask(native, { label, stream: true, pieces })
    await run.made({ label, due, reading: original }, answer)
    if (answer.status !== first.status || !isSame(answer.bytes, first.bytes))
      run.note(label, ['other bytes than in one piece'])
  }
}

/** Each call is charged at the same price but has an id of its own, which may stand in the answer. */
function isSame(bytes: Uint8Array, first: Uint8Array): boolean {
  return Buffer.compare(bytes, first) === 0
}

/** The answer in the form that was not recorded says the same. */
async function other(native: Native, way: Way, { due, original }: Omit<Streamed, 'answer'>): Promise<void> {
  const { run, tongue, recording } = native
  const { label, model = recording.model } = way
  const answer = await ask(native, way)
  // Of several choices the books keep the finish that came last.
  const { finish: word, ...facts } = due
  const wantedDue = { ...facts, model, ...(original.choices === 1 && { finish: word }) }
  await run.made({ label, due: wantedDue, reading: original }, answer)
  const reading = readAs(tongue, answer, way.stream)
  if (typeof reading === 'string') return run.note(label, [reading])
  const { text, reasoning, toolCalls, finish } = original
  const wanted = { text, reasoning, finish: tongue.finishClass({ finish, toolCalls }) }
  // Why an answer was refused stands beside it in one form and is its text in another.
  const spoken = text === '' && wanted.finish === 'content_filter' ? '' : reading.text
  const end = wanted.finish === undefined ? undefined : tongue.finishClass(reading)
  const said = { text: spoken, reasoning: reading.reasoning, finish: end }
  const calls = (all: Reading['toolCalls']) => all.map(({ name, arguments: given }) => ({ name, arguments: given }))
  run.note(label, [
    ...(isDeepStrictEqual(said, wanted) ? [] : [`it says ${JSON.stringify(said)}, expected ${JSON.stringify(wanted)}`]),
    ...(isDeepStrictEqual(calls(reading.toolCalls), calls(toolCalls)) ? [] : ['the tool calls differ']),
    ...checkModel(reading, model),
  ])
}

async function whole(native: Native): Promise<void> {
  const { run, tongue, recording } = native
  const original = tongue.readBody(recording.response)
  const label = 'as recorded'
  const due = dueOf(recording, original)
  const answer = await ask(native, { label, stream: false })
  await run.made({ label, due, reading: original }, answer)
  const reading = readAs(tongue, answer, false)
  run.note(label, typeof reading === 'string' ? [reading] : checkPassed(native, reading, original))
  const body = tongue.inForm(recording.asked, { model: recording.model, stream: true })
  await other(native, { label: 'to a caller who streams', body, stream: true }, { due, original })
}

/** The vendor's error in the caller's own form, under the status that says whose fault it is. */
async function refusal(native: Native): Promise<void> {
  const { run, tongue, recording } = native
  const { entry, response } = recording
  const wanted = statusFor(entry.status, decoder.decode(response))
  const label = 'as recorded'
  const answer = await ask(native, { label, stream: entry.streaming })
  run.note(label, checkRefused(tongue, answer, wanted))
}

/** An error answer of this dialect, with the status. */
export function checkRefused(tongue: Tongue, { status, bytes }: CallerAnswer, wanted: number): string[] {
  const text = decoder.decode(bytes)
  return [
    ...(status === wanted ? [] : [`status is ${status}, expected ${wanted}`]),
    ...((tongue.errorMessage(JSON.parse(text) as JsonObject) ?? '') !== ''
      ? []
      : [`${text.slice(0, 200)} is no error`]),
  ]
}
