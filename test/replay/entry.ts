import { isDeepStrictEqual } from 'node:util'
import type { JsonObject } from '../../src/core/call.ts'
import {
  checkExpected,
  checkModel,
  checkRefusal,
  checkSame,
  checkUntouched,
  checkUsage,
  dueFor,
  statusFor,
  type Due,
  type Refusal,
} from './checks.ts'
import { cutsOf } from './cuts.ts'
import { gatheredName, type CallerAnswer } from './gateway.ts'
import { tokensOf } from './price.ts'
import { readBody, readStream, type Reading } from './reader.ts'
import { Run, type Asking, type Bench, type Recording } from './run.ts'

const decoder = new TextDecoder()

/** Replays one entry in every way that there is for it. Resolves to what differed; never rejects for a gateway's fault. */
export async function replayEntry(bench: Bench, recording: Recording): Promise<readonly string[]> {
  const run = new Run(bench, recording)
  try {
    const { entry } = recording
    if (entry.status < 200 || entry.status >= 300) await replayRefusal(run)
    else if (entry.features.includes('error_in_stream')) await replayError(run)
    else if (entry.streaming) await replayStream(run)
    else await replayWhole(run)
    await run.settle()
  } catch (error) {
    run.note('stopped', [error instanceof Error ? `${error.name}: ${error.message}` : String(error)])
  }
  return run.differences
}

async function replayStream(run: Run): Promise<void> {
  const { recording } = run
  const { entry, response, asked, model } = recording
  const original = readStream(response)
  const due = dueFor(model, entry.metering ?? undefined, { usage: entry.usage, finish: lastFinish(original) })
  const wantsUsage = (asked['stream_options'] as JsonObject | undefined)?.['include_usage'] === true
  const whole = await run.ask({ label: 'in one piece' })
  await run.made({ label: 'in one piece', due, reading: original }, whole)
  run.note('in one piece', checkStreamed(whole, recording, original))
  const cost = await costOf(run, whole)
  if (whole.status === 200)
    run.note('in one piece', checkUsage(readStream(whole.bytes), original, wantsUsage ? cost : undefined))
  await replayCut(run, { whole, due, original })
  await replayGathered(run, { original, due })
}

/** Finish reasons differ between choices; the books keep the last that came. */
function lastFinish({ events }: Reading): string | undefined {
  const finishes = events
    .flatMap(({ choices }) => (choices as readonly JsonObject[] | undefined) ?? [])
    .map((choice) => choice['finish_reason'])
  return finishes.findLast((finish): finish is string => typeof finish === 'string' && finish !== '')
}

function checkStreamed({ status, bytes }: CallerAnswer, { entry, model }: Recording, original: Reading): string[] {
  if (status !== 200) return [`status ${status}: ${decoder.decode(bytes).slice(0, 300)}`]
  const reading = readStream(bytes)
  return [
    ...(reading.isDone ? [] : ['the stream has no end']),
    ...(reading.error ? ['the stream holds an error'] : []),
    ...checkExpected(entry.expect ?? {}, reading),
    ...checkSame(reading, original),
    ...checkUntouched(reading, original),
    ...checkModel(reading, model),
  ]
}

/** What the caller may read of the call's cost, as the number that it is in JSON. */
async function costOf({ bench }: Run, { headers }: CallerAnswer): Promise<number> {
  const generation = await bench.gateway.get(`/v1/generation?id=${String(headers['x-request-id'])}`)
  return Number(generation['cost'])
}

interface Streamed {
  readonly whole: CallerAnswer
  readonly due: Due
  readonly original: Reading
}

/** The same stream byte by byte, and cut in two at many places: the caller must get the same bytes each time. */
async function replayCut(run: Run, { whole, due, original }: Streamed): Promise<void> {
  const { response, entry } = run.recording
  const cuts = cutsOf(response.length, entry.id, run.bench.cuts)
  const ways: Asking[] = [
    { label: 'byte by byte', pieces: Array.from(response, (byte) => Uint8Array.of(byte)) },
    ...cuts.map((at) => ({
      label: `cut at ${at}`,
      pieces: [response.subarray(0, at), response.subarray(at)],
      isSlow: true,
    })),
  ]
  for (const way of ways) {
    if (run.isHopeless) return
    const answer = await run.ask(way)
    await run.made({ label: way.label, due, reading: original }, answer)
    if (answer.status !== whole.status || Buffer.compare(answer.bytes, whole.bytes) !== 0)
      run.note(way.label, [`other bytes than in one piece: ${firstDifference(answer.bytes, whole.bytes)}`])
  }
}

function firstDifference(actual: Uint8Array, wanted: Uint8Array): string {
  const at = actual.findIndex((byte, index) => byte !== wanted[index])
  const from = Math.max(0, (at < 0 ? actual.length : at) - 20)
  const part = (bytes: Uint8Array) => JSON.stringify(decoder.decode(bytes.subarray(from, from + 60)))
  return `${part(actual)} instead of ${part(wanted)}`
}

/** A caller who does not stream gets the stream as one body, whether the vendor was asked for it or came with it. */
async function replayGathered(run: Run, { original, due }: Pick<Streamed, 'original' | 'due'>): Promise<void> {
  const { asked, model, entry } = run.recording
  const { stream: _, stream_options: __, ...rest } = asked
  for (const name of [model, gatheredName(model)]) {
    const label = `gathered as ${name}`
    const answer = await run.ask({ label, body: { ...rest, model: name } })
    await run.made({ label, due: { ...due, model: name }, reading: original }, answer)
    run.note(label, checkBody(answer, { entry, model: name }, original))
    run.note(label, await checkCost(run, answer))
  }
}

function checkBody(
  { status, bytes }: CallerAnswer,
  { entry, model }: Pick<Recording, 'entry' | 'model'>,
  original: Reading,
): string[] {
  if (status !== 200) return [`status ${status}: ${decoder.decode(bytes).slice(0, 300)}`]
  const reading = readBody(bytes)
  return [
    ...checkExpected(entry.expect ?? {}, reading),
    ...checkSame(reading, original),
    ...checkModel(reading, model),
    ...(isDeepStrictEqual(reading.usage, original.usage) ? [] : ["the usage is not the vendor's"]),
  ]
}

async function checkCost(run: Run, answer: CallerAnswer): Promise<string[]> {
  if (answer.status !== 200) return []
  const cost = await costOf(run, answer)
  const told = Number(answer.headers['x-tollgate-cost'])
  return told === cost ? [] : [`x-tollgate-cost is ${told}, the books say ${cost}`]
}

async function replayWhole(run: Run): Promise<void> {
  const { entry, response, asked, model } = run.recording
  const original = readBody(response)
  const due = dueFor(model, entry.metering ?? undefined, { usage: entry.usage, finish: firstFinish(original) })
  const answer = await run.ask({ label: 'as recorded' })
  await run.made({ label: 'as recorded', due, reading: original }, answer)
  run.note('as recorded', checkBody(answer, run.recording, original))
  if (answer.status === 200) run.note('as recorded', checkUntouched(readBody(answer.bytes), original))
  run.note('as recorded', await checkCost(run, answer))

  const label = 'to a caller who streams'
  const body = { ...asked, stream: true, stream_options: { include_usage: true } }
  const spread = await run.ask({ label, body })
  await run.made({ label, due: { ...due, finish: lastFinish(original) }, reading: original }, spread)
  run.note(label, checkSpread(spread, run.recording, original))
  if (spread.status === 200)
    run.note(label, checkUsage(readStream(spread.bytes), original, original.usage && (await costOf(run, spread))))
}

function firstFinish({ events }: Reading): string | undefined {
  const [first] = (events[0]?.['choices'] as readonly JsonObject[] | undefined) ?? []
  const finish = first?.['finish_reason']
  return typeof finish === 'string' && finish !== '' ? finish : undefined
}

function checkSpread({ status, bytes }: CallerAnswer, { entry, model }: Recording, original: Reading): string[] {
  if (status !== 200) return [`status ${status}: ${decoder.decode(bytes).slice(0, 300)}`]
  const reading = readStream(bytes)
  return [
    ...(reading.isDone ? [] : ['the stream has no end']),
    ...checkExpected(entry.expect ?? {}, reading),
    ...checkSame(reading, original),
    ...checkModel(reading, model),
  ]
}

/** Of a call that gave its caller nothing. */
export const nothingDue = {
  source: 'fixed',
  tokens: {
    input: 0,
    cached_input: 0,
    cache_write_5m: 0,
    cache_write_1h: 0,
    output: 0,
    reasoning: 0,
    audio_input: 0,
    audio_output: 0,
    search: 0,
  },
}

/** Of a request that the gateway itself refuses, the vendor's own answer is tried with one that it takes. */
async function replayRefusal(run: Run): Promise<void> {
  const { entry, response, model } = run.recording
  const vendorBody = decoder.decode(response)
  const wanted = statusFor(entry.status, vendorBody)
  const answer = await run.ask({ label: 'as recorded', mayBeRefused: wanted === 400 })
  run.note('as recorded', checkRefusal(refusalIn(answer), wanted, vendorBody))
  if (answer.reached) return noteFailed(run, 'as recorded', answer)
  const label = 'with a plain request'
  const again = await run.ask({ label, body: { model, messages: [{ role: 'user', content: 'Say something.' }] } })
  run.note(label, checkRefusal(refusalIn(again), wanted, vendorBody))
  await noteFailed(run, label, again)
}

async function noteFailed(run: Run, label: string, answer: CallerAnswer): Promise<void> {
  const due = { ...nothingDue, outcome: 'vendor_failed', model: run.recording.model }
  await run.made({ label, due, reading: undefined }, answer)
}

function refusalIn({ status, bytes, headers }: CallerAnswer): Refusal {
  const retryAfter = headers['retry-after']
  return { status, text: decoder.decode(bytes), retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined }
}

/** An error in a stream breaks it off, unless the answer had ended before. */
async function replayError(run: Run): Promise<void> {
  const { entry, response, model } = run.recording
  const original = readStream(response)
  const errorAt = original.events.findIndex(({ error }) => error !== undefined && error !== null)
  const finish = lastFinish({ ...original, events: original.events.slice(0, Math.max(0, errorAt)) })
  if (finish === undefined) return replayBroken(run)
  const due = dueFor(model, entry.metering ?? undefined, { usage: entry.usage, finish })
  const whole = await run.ask({ label: 'in one piece' })
  await run.made({ label: 'in one piece', due, reading: original }, whole)
  const reading = readStream(whole.bytes)
  run.note('in one piece', checkExpected(entry.expect ?? {}, reading))
  if (!reading.isDone || reading.error) run.note('in one piece', ['the answer does not end as it did before the error'])
  await replayCut(run, { whole, due, original })
}

/**
 * A stream that breaks off with an error: before any content the call has failed, after it the caller is told and pays
 * for what he got. A caller who does not stream gets nothing of it, and pays nothing.
 */
async function replayBroken(run: Run): Promise<void> {
  const { response, asked, model } = run.recording
  const original = readStream(response)
  const hasContent = original.text !== '' || original.reasoning !== '' || original.toolCalls.length > 0
  const failed: Due = { ...nothingDue, outcome: 'vendor_failed', model }
  const due = hasContent ? brokenDue(run.recording) : failed
  const status = statusInside(original)
  const whole = await run.ask({ label: 'in one piece' })
  await run.made({ label: 'in one piece', due, reading: original }, whole)
  const told = hasContent
    ? checkBroken(whole, run.recording)
    : checkRefusal(refusalIn(whole), status, decoder.decode(response))
  run.note('in one piece', told)
  await replayCut(run, { whole, due, original })

  const { stream: _, stream_options: __, ...body } = asked
  const gathered = await run.ask({ label: 'gathered', body })
  await run.made({ label: 'gathered', due: failed, reading: undefined }, gathered)
  run.note('gathered', checkRefusal(refusalIn(gathered), status, decoder.decode(response)))
}

/** The vendor's own count for what it did, where it told one. */
export function brokenDue({ entry, model }: Recording): Due {
  const { metering, usage } = entry
  if (!metering) return { outcome: 'incomplete', source: 'counted', tokens: undefined, model }
  return { outcome: 'incomplete', source: 'vendor_partial', tokens: tokensOf(metering, usage), model }
}

/** An error in a stream may name a status; one that does not is the vendor's failure. */
function statusInside({ error }: Reading): number {
  const code = Number(error?.['status_code'] ?? error?.['code'] ?? error?.['status'])
  return code >= 400 && code <= 599 ? statusFor(code, JSON.stringify({ error })) : 502
}

function checkBroken({ status, bytes }: CallerAnswer, { entry }: Recording): string[] {
  if (status !== 200) return [`status ${status}: ${decoder.decode(bytes).slice(0, 300)}`]
  const reading = readStream(bytes)
  return [
    ...checkExpected(entry.expect ?? {}, reading),
    ...(reading.error ? [] : ['the caller is not told that the stream broke']),
    ...(reading.isDone ? ['the stream ends as if it were whole'] : []),
  ]
}
