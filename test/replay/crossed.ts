import { isDeepStrictEqual } from 'node:util'
import { fronts } from '../../src/fronts/index.ts'
import { checkExpected, checkModel, dueFor, statusFor, type Due } from './checks.ts'
import { gatheredName, vendorKey, type CallerAnswer } from './gateway.ts'
import { nothingDue } from './entry.ts'
import type { Entry } from './manifest.ts'
import { brokenOff, checkRefused } from './native.ts'
import type { Reading } from './reader.ts'
import type { ReceivedRequest } from './recorded-vendor.ts'
import { Run, type Bench, type Recording } from './run.ts'
import type { Tongue } from './tongue.ts'
import { conversations, tongues } from './tongues.ts'

/*
 * Recordings of a vendor, asked for in the dialects that it does not speak: text, reasoning, tool calls, the class of
 * the finish and the metering must be what they are in its own.
 */

const decoder = new TextDecoder()

/** Replays one entry in one dialect. Resolves to what differed; never rejects for a gateway's fault. */
export async function replayCrossed(bench: Bench, recording: Recording, tongue: Tongue): Promise<readonly string[]> {
  const run = new Run(bench, recording)
  const crossed: Crossed = { run, tongue, recording }
  try {
    const { entry } = recording
    if (entry.status < 200 || entry.status >= 300) await refusal(crossed)
    else if (entry.features.includes('error_in_stream')) await broken(crossed)
    else await answered(crossed)
    await run.settle()
  } catch (error) {
    run.note(`as ${tongue.kind}: stopped`, [error instanceof Error ? `${error.name}: ${error.message}` : String(error)])
  }
  return run.differences
}

interface Crossed {
  readonly run: Run
  readonly tongue: Tongue
  readonly recording: Recording
}

interface Way {
  readonly label: string
  readonly model: string
  readonly stream: boolean
}

/** What the vendor is sent is its adapter's business; here it is enough that it was asked once, with our key. */
function checkSent(requests: readonly ReceivedRequest[]): string[] {
  const [sent, ...more] = requests
  if (!sent || more.length > 0) return [`the vendor was called ${requests.length} times`]
  return sent.key === vendorKey ? [] : ['the vendor was not given our key']
}

function ask({ run, tongue }: Crossed, { label, model, stream }: Way): Promise<CallerAnswer> {
  const body = tongue.request({ model, stream })
  return run.ask({ label, body, path: tongue.path(model, stream), sent: checkSent })
}

/** Streamed and not, whatever was recorded; and gathered where it was a stream. */
async function answered(crossed: Crossed): Promise<void> {
  const { recording, tongue } = crossed
  const { entry, model } = recording
  const kind = tongue.kind
  const ways: Way[] = [
    { label: `as ${kind}, streamed`, model, stream: true },
    { label: `as ${kind}, whole`, model: entry.streaming ? gatheredName(model) : model, stream: false },
  ]
  for (const way of ways) await answeredAs(crossed, way)
}

async function answeredAs(crossed: Crossed, way: Way): Promise<void> {
  const { run, tongue, recording } = crossed
  const { label, model, stream } = way
  const answer = await ask(crossed, way)
  const original = originalOf(crossed)
  if (answer.status !== 200)
    return run.note(label, [`status ${answer.status}: ${decoder.decode(answer.bytes).slice(0, 300)}`])
  const reading = stream ? tongue.readStream(answer.bytes) : tongue.readBody(answer.bytes)
  await run.made({ label, due: dueOf(recording, original, model), reading }, answer)
  run.note(label, checkSaid(crossed, reading, original))
  run.note(label, checkModel(reading, model))
  run.note(label, checkTold(crossed, reading))
}

/** The vendor's own answer, where its wire is one of those that are read here; thoughts in its text are told apart. */
function originalOf({ run, recording }: Crossed): Reading | undefined {
  const { entry, response } = recording
  const own = ownTongue(run, recording)
  if (!own) return undefined
  const reading = entry.streaming ? own.readStream(response) : own.readBody(response)
  const thinking = /^<think>([^]*?)(?:<\/think>([^]*))?$/.exec(reading.text)
  if (!thinking) return reading
  const [, reasoning = '', text = ''] = thinking
  return { ...reading, reasoning, text }
}

function ownTongue({ bench }: Run, { entry }: Recording): Tongue | undefined {
  const own = tongues.get(entry.kind)
  return own && bench.speaks.includes(own.dialect) ? own : undefined
}

function dueOf({ entry }: Recording, original: Reading | undefined, model: string): Due {
  const { finish: _, ...due } = dueFor(model, entry.metering ?? undefined, { usage: entry.usage, finish: undefined })
  // Some vendors' word is one of several in a stream with many choices.
  return original?.finish === undefined || original.choices > 1 ? due : { ...due, finish: original.finish }
}

function checkSaid({ run, tongue, recording }: Crossed, reading: Reading, original: Reading | undefined): string[] {
  const { entry } = recording
  const wanted = original && ownTongue(run, recording)?.finishClass(original)
  const said = tongue.finishClass(reading)
  // Why an answer was refused is told beside it in some dialects, and is its text in others.
  const isRefused = wanted === 'content_filter' && original?.text === ''
  // The manifest has such thoughts in the text.
  const isApart = original !== undefined && original.reasoning !== '' && entry.expect?.reasoning_chars === undefined
  const spoken = { ...reading, choices: 1, ...(isRefused && { text: '' }) }
  return [
    ...(reading.isDone ? [] : ['the stream has no end']),
    ...(reading.error ? ['the answer holds an error'] : []),
    ...(original ? checkOriginal(spoken, original) : []),
    ...(isRefused || isApart ? [] : checkExpected(comparable(entry.expect ?? {}), spoken)),
    ...(wanted === undefined || said === wanted ? [] : [`finish is ${String(reading.finish)}, expected ${wanted}`]),
  ]
}

/** What of a manifest's facts stands in every dialect: its words for a finish and its ids do not. */
function comparable({ finish: _, choices: __, tool_calls: calls, ...rest }: NonNullable<Entry['expect']>) {
  // No argument at all is written in several ways.
  const named = calls?.map(({ name, arguments: given }) => ({ name, arguments: given === 'null' ? {} : given }))
  return { ...rest, ...(named && { tool_calls: named }) }
}

function checkOriginal(reading: Reading, original: Reading): string[] {
  const said = ({ text, reasoning, toolCalls }: Reading) => ({
    // The space between thoughts and text is nobody's word.
    text: text.trim(),
    reasoning: reasoning.trim(),
    calls: toolCalls.map(({ name, arguments: given }) => ({ name, arguments: given })),
  })
  const [got, wanted] = [said(reading), said(original)]
  return isDeepStrictEqual(got, wanted)
    ? []
    : [`it says ${JSON.stringify(got).slice(0, 200)}, expected ${JSON.stringify(wanted).slice(0, 200)}`]
}

/** The caller is told what the vendor counted. */
function checkTold({ tongue, recording }: Crossed, { usage }: Reading): string[] {
  const { metering } = recording.entry
  if (!metering) return []
  if (!usage) return ['the usage is not told']
  const told = tongue.totals(usage)
  const { output } = metering
  // Where the vendor has not counted the prompt, the gateway has.
  const input = metering.input === 0 ? told.input : metering.input
  return isDeepStrictEqual(told, { input, output })
    ? []
    : [`${JSON.stringify(told)} tokens are told, expected ${JSON.stringify({ input, output })}`]
}

/** The caller hears of it, as a status or in the stream, and it does not end as if whole. */
async function broken(crossed: Crossed): Promise<void> {
  const { run, tongue, recording } = crossed
  const label = `as ${tongue.kind}, streamed`
  const answer = await ask(crossed, { label, model: recording.model, stream: true })
  if (answer.status >= 400) {
    await run.made(
      { label, due: { ...nothingDue, outcome: 'vendor_failed', model: recording.model }, reading: undefined },
      answer,
    )
    return run.note(label, checkRefused(tongue, answer, answer.status))
  }
  const reading = tongue.readStream(answer.bytes)
  const { error, isDone, finish } = reading
  const isOver = isDone && finish !== undefined && !error
  await run.made(
    {
      label,
      due: isOver ? dueOf(recording, undefined, recording.model) : brokenOff(recording, originalOf(crossed) ?? reading),
      reading,
    },
    answer,
  )
  // Of an answer that had ended before, the error is nobody's business.
  if (isOver) return
  run.note(label, [
    ...(error ? [] : ['the caller is not told that the stream broke']),
    ...(isDone ? ['the stream ends as if it were whole'] : []),
  ])
}

async function refusal(crossed: Crossed): Promise<void> {
  const { run, tongue, recording } = crossed
  const { entry, response, model } = recording
  const label = `as ${tongue.kind}`
  const answer = await ask(crossed, { label, model, stream: entry.streaming })
  run.note(label, checkRefused(tongue, answer, statusFor(entry.status, decoder.decode(response))))
}

/** The dialects in which a vendor's answers are crossed: those that it does not speak itself. */
export function crossings(speaks: readonly string[]): readonly Tongue[] {
  return conversations.filter(
    ({ dialect }) => !speaks.includes(dialect) && fronts.some((front) => front.dialect === dialect),
  )
}
