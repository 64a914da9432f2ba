import { concat } from '../core/concat.ts'
import { GatewayError } from '../core/errors.ts'
import { FleetingMap } from '../core/fleeting.ts'
import { isObject, parseJson } from '../core/wire.ts'
import type { Client, Clock, Log, Repeats, Standing } from '../ports.ts'
import { recordingClient, type SentAnswer } from './recording-client.ts'

/** Where a caller names a call that must happen once. */
export const idempotencyHeader = 'idempotency-key'

/** A call whose gateway does not say for this long that it runs is taken for dead. */
const leaseMs = 30_000
const extendMs = leaseMs / 3
/** The store is waited for this long: without it nobody knows whether a call was made before. */
const storeMs = 2_000
/** Between two looks at a call that another gateway runs: they become rarer. */
const firstLookMs = 50
const mostLookMs = 500
/** What a call has come to is stored at this try at the latest. */
const finishTries = 5
const finishPauseMs = 1_000
const hourMs = 3_600_000
/** Of HTTP's statuses. */
const firstError = 400
const formVersion = 1
const encoder = new TextEncoder()
const lineFeed = 0x0a
/** Printable ASCII, as a header carries it. */
const usable = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/

export interface IdempotencyRules {
  /** A call whose name is taken by one that runs waits for it, or is refused. */
  readonly whileRunning: 'wait' | 'refuse'
  readonly waitMs: number
  readonly keepHours: number
}

export interface IdempotencyOptions {
  readonly repeats: Repeats
  readonly rules: IdempotencyRules
  readonly clock: Clock
  readonly log: Log
}

/** A call that has a name of its caller's. */
export interface NamedCall {
  /** Names the call in our own books. */
  readonly id: string
  /** A hash of the account and the caller's name for it. */
  readonly name: string
  /** A hash of all that it asks. */
  readonly digest: string
  readonly client: Client
}

export interface Idempotency {
  /**
   * Runs a call, unless it was made before: then its answer is sent again. Throws `idempotency_key_reused` where the name
   * is that of another request, `call_in_progress` where the first one takes too long, `billing_unavailable` where nobody
   * can say, and whatever `run` throws.
   */
  once(call: NamedCall, run: (client: Client) => Promise<void>): Promise<void>
}

/** The caller's name of a call; undefined where he gives none. Throws `invalid_value` for one that is unusable. */
export function idempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined || header.trim() === '') return undefined
  if (usable.test(header.trim())) return header.trim()
  throw new GatewayError('invalid_value', 'An Idempotency-Key has 1 to 255 printable ASCII characters.', {
    param: 'Idempotency-Key',
  })
}

/** A call of a name in this process, and what it has come to. */
interface Running {
  readonly digest: string
  readonly over: Promise<SentAnswer | undefined>
  /** The name is its own. */
  isSure: boolean
}

interface State extends IdempotencyOptions {
  readonly running: FleetingMap<string, Running>
}

export function openIdempotency(options: IdempotencyOptions): Idempotency {
  const state: State = { ...options, running: new FleetingMap() }
  return { once: (call, run) => once(state, call, run) }
}

async function once(state: State, call: NamedCall, run: (client: Client) => Promise<void>): Promise<void> {
  const { clock, rules, running } = state
  const untilMs = clock.elapsed() + (rules.whileRunning === 'wait' ? rules.waitMs : 0)
  while (!call.client.gone) {
    const first = running.get(call.name)
    if (!first) return lead(state, call, { run, untilMs })
    if (first.digest !== call.digest && first.isSure) throw reused()
    const leftMs = untilMs - clock.elapsed()
    if (leftMs <= 0) throw inProgress()
    const answer = await sooner(clock, { over: first.over, ms: leftMs, client: call.client })
    if (answer && first.digest === call.digest) return sendAgain(call.client, answer)
  }
}

interface Leading {
  run(client: Client): Promise<void>
  readonly untilMs: number
}

/** The first of its name in this process: it asks the store, and the others here ask it. */
async function lead(state: State, call: NamedCall, leading: Leading): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<SentAnswer | undefined>()
  const { running } = state
  const self: Running = { digest: call.digest, over, isSure: false }
  running.set(call.name, self)
  let answer: SentAnswer | undefined
  try {
    const standing = await standingOf(state, call, leading.untilMs)
    if (standing === 'gone') return
    if (standing === 'yours') {
      self.isSure = true
      answer = await runKept(state, call, leading.run)
      return
    }
    answer = standing
    sendAgain(call.client, standing)
  } finally {
    running.delete(call.name)
    resolve(answer)
  }
}

/** Waits until the name is ours or has an answer; `gone` where the caller leaves before. */
async function standingOf(state: State, call: NamedCall, untilMs: number): Promise<'yours' | 'gone' | SentAnswer> {
  const { clock } = state
  for (let pauseMs = firstLookMs; ; pauseMs = Math.min(2 * pauseMs, mostLookMs)) {
    const standing = await begin(state, call)
    if (standing.state === 'yours') return 'yours'
    if (standing.digest !== call.digest) throw reused()
    if (standing.state === 'answered') return unpack(standing.answer)
    if (clock.elapsed() >= untilMs) throw inProgress()
    await pause(clock, pauseMs)
    if (call.client.gone) return 'gone'
  }
}

async function begin({ repeats, clock }: State, { name, id, digest }: NamedCall): Promise<Standing> {
  try {
    return await inTime(clock, repeats.begin(name, { owner: id, digest, leaseMs }))
  } catch (cause) {
    throw new GatewayError(
      'billing_unavailable',
      'It cannot be told at the moment whether this call was made before. Send it again with the same Idempotency-Key.',
      { cause, retryAfterMs: 1_000 },
    )
  }
}

/** Runs the call under its name; resolves to its answer where there is one that counts. */
async function runKept(state: State, call: NamedCall, run: Leading['run']): Promise<SentAnswer | undefined> {
  const { client, sent } = recordingClient(call.client)
  const stop = keepAlive(state, call)
  let answer: SentAnswer | undefined
  try {
    await run(client)
  } finally {
    const made = sent()
    // An error before the first content costs nothing, and may go better next time.
    answer = made && made.status < firstError ? made : undefined
    await finish(state, call, answer)
    stop()
  }
  return answer
}

/** Stores what a call has come to. While that fails its name is kept as long as the store's own time allows. */
async function finish(state: State, { name, id, digest }: NamedCall, answer: SentAnswer | undefined): Promise<void> {
  const { repeats, clock, log, rules } = state
  const ttlMs = rules.keepHours * hourMs
  const packed = answer && pack(answer)
  for (let tries = 1; tries <= finishTries; tries++) {
    try {
      return await inTime(
        clock,
        packed ? repeats.keep(name, { owner: id, digest }, { answer: packed, ttlMs }) : repeats.free(name, id),
      )
    } catch (error) {
      log('repeat_not_kept', { id, tries, error: String(error) })
      if (tries < finishTries) await pause(clock, finishPauseMs)
    }
  }
}

/** As long as a call runs nobody else may have its name. */
function keepAlive({ repeats, clock, log }: State, { name, id }: NamedCall): () => void {
  let stop = clock.after(extendMs, turn)
  let isOver = false
  function turn(): void {
    void repeats
      .extend(name, id, leaseMs)
      .catch((error) => log('repeat_not_extended', { id, error: String(error) }))
      .then(() => {
        if (!isOver) stop = clock.after(extendMs, turn)
      })
  }
  return () => {
    isOver = true
    stop()
  }
}

/** The same status, headers and bytes, and a sign that nothing was done for it. */
function sendAgain(client: Client, { status, headers, bytes }: SentAnswer): void {
  if (client.gone) return
  if (!bytes)
    throw new GatewayError(
      'conflict',
      `This call was made before, as ${headers['x-request-id'] ?? 'another'}, and its answer was not kept. Use another Idempotency-Key to make it anew.`,
    )
  client.open(status, { ...headers, 'idempotent-replayed': 'true' })
  client.end(bytes)
}

/** An answer as bytes: a line with its head, and its body. */
function pack({ status, headers, bytes }: SentAnswer): Uint8Array {
  const line = JSON.stringify({ version: formVersion, status, headers, isLost: bytes === undefined })
  return concat([encoder.encode(`${line}\n`), bytes ?? new Uint8Array(0)])
}

function unpack(packed: Uint8Array): SentAnswer {
  const end = packed.indexOf(lineFeed)
  const head = parseJson(packed.subarray(0, Math.max(0, end)))
  const isReadable = isObject(head) && head['version'] === formVersion
  if (!isReadable || !isObject(head['headers'])) return { status: 200, headers: {}, bytes: undefined }
  const headers = Object.entries(head['headers']).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  return {
    status: typeof head['status'] === 'number' ? head['status'] : 200,
    headers: Object.fromEntries(headers),
    bytes: head['isLost'] === true ? undefined : packed.subarray(end + 1),
  }
}

function reused(): GatewayError {
  return new GatewayError(
    'idempotency_key_reused',
    'This Idempotency-Key was sent with another request before. Draw a new one for each request.',
    { param: 'Idempotency-Key' },
  )
}

function inProgress(): GatewayError {
  return new GatewayError(
    'call_in_progress',
    'A call with this Idempotency-Key has not ended yet. Send it again later to have its answer.',
    { retryAfterMs: 1_000 },
  )
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve))
}

interface Waiting {
  readonly over: Promise<SentAnswer | undefined>
  readonly ms: number
  readonly client: Client
}

/** What the first call has come to; undefined where it is not over by then, or the one who waits has left. */
async function sooner(clock: Clock, { over, ms, client }: Waiting): Promise<SentAnswer | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const stop = clock.after(ms, () => resolve(undefined))
  client.onGone(() => resolve(undefined))
  const answer = await Promise.race([over, promise])
  stop()
  return answer
}

async function inTime<T>(clock: Clock, answer: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const stop = clock.after(storeMs, () => reject(new Error(`no answer in ${storeMs} ms`)))
  try {
    return await Promise.race([answer, late])
  } finally {
    stop()
  }
}
