import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { openBooks } from '../../src/db/books.ts'
import { readJournal } from '../../src/platform/journal.ts'
import { freePort } from '../db/real-postgres.ts'
import { type Conversation, converse } from '../support/conversation.ts'
import { install, type Installation, type Payer, type Store } from '../support/installation.ts'
import { until } from '../support/process.ts'
import { randomFrom } from '../support/random.ts'
import type { Tale, Told } from '../support/tales.ts'
import { livingClock, type LivingClock, makeFaults, startVendorProcess } from './faults.ts'
import { type Booked, judge, type Truth } from './truth.ts'

const prices = { input: 1_000n, output: 2_000n }
const checkpointMs = 2_000
const tickMs = 250
/** Between the gateway's clock and that of the callers, on a machine that all share. */
const lagMs = 250

const yaml = (vendorUrl: string) => `
server: { shutdown_grace_seconds: 3 }
vendors:
  fake: { adapter: openai, base_url: '${vendorUrl}', api_keys: [vendor-secret] }
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    max_output_tokens: 4096
holds: { checkpoint_seconds: ${checkpointMs / 1_000}, first_output_tokens: 64 }
`

const callers = 12
/** What the accounts have: most of them plenty, the last one little. */
const balances = [10_000_000_000n, 10_000_000_000n, 10_000_000_000n, 15_000_000n]
const mostWords = 400
const mostPaceMs = 25
/** A call that was under way when a gateway was killed may be heard to its end this much later. */
const echoMs = 1_000
const healMs = 120_000

export interface RunOptions {
  readonly store: Store
  readonly seed: number
  readonly minutes: number
  progress(line: string): void
}

/** The figures of a run. Money in nano-units. */
export interface Report {
  readonly faults: Readonly<Record<string, number>>
  readonly starts: number
  readonly calls: number
  readonly endings: Readonly<Record<string, number>>
  readonly deliveredTokens: number
  readonly charged: bigint
  readonly unbilled: bigint
  readonly unbilledStreams: number
  readonly worstUnbilled: bigint
  readonly worstUnbilledMs: number
  readonly lostAnswers: number
  readonly overcharges: number
  readonly doubleCharges: number
  /** All that is not as it must be, in words. */
  readonly breaches: readonly string[]
}

interface Seen extends Omit<Truth, 'told' | 'isKilled'> {
  readonly fromMs: number
  readonly toMs: number
}

/** Makes faults for so many minutes, heals, and holds the books against what callers and vendor saw. */
export async function crashRun(options: RunOptions): Promise<Report> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-crash-run-'))
  const truthPath = join(home, 'vendor.jsonl')
  const port = await freePort()
  const vendor = await startVendorProcess(port, truthPath)
  try {
    const installation = await install({ store: options.store, yaml: yaml(`http://127.0.0.1:${port}`) })
    try {
      const payers: Payer[] = []
      for (const balance of balances) payers.push(await installation.payer(balance))
      const promptTokens = await countPrompt(installation)
      const world = { options, installation, payers, promptTokens, clock: livingClock() }
      const played = await play(world, vendor)
      return await settleUp(world, { ...played, told: readTold(truthPath) })
    } finally {
      await installation.remove()
    }
  } finally {
    await vendor.end()
    rmSync(home, { recursive: true, force: true })
  }
}

interface World {
  readonly options: RunOptions
  readonly installation: Installation
  readonly payers: readonly Payer[]
  readonly promptTokens: number
  readonly clock: LivingClock
}

interface Played {
  readonly seen: readonly Seen[]
  readonly kills: readonly number[]
  readonly faults: Readonly<Record<string, number>>
}

const question = [{ role: 'user', content: 'Tell me a tale of so many words.' }]

/** Of a call whose vendor does not count, on an account that nobody else uses. */
async function countPrompt(installation: Installation): Promise<number> {
  const { key } = await installation.payer(1_000_000_000n)
  const tale: Tale = { n: 0, words: 1, paceMs: 0 }
  const body = { model: 'test-model', stream: true, messages: question, tale }
  const { id } = await converse({ url: installation.url, key, body, name: 'call-0' })
  const { usage } = await installation.get(`/v1/generation?id=${id}`, key)
  return (usage as { readonly prompt_tokens: number }).prompt_tokens
}

async function play(world: World, vendor: Awaited<ReturnType<typeof startVendorProcess>>): Promise<Played> {
  const { options, installation, clock } = world
  const random = randomFrom(options.seed)
  const stop = new AbortController()
  const seen: Seen[] = []
  const kills: number[] = []
  const faults: Record<string, number> = {}
  const count = (fault: string) => {
    faults[fault] = (faults[fault] ?? 0) + 1
  }
  const making = makeFaults(
    {
      installation,
      vendor,
      clock,
      random: randomFrom(options.seed + 1),
      count,
      killed: () => kills.push(performance.now()),
    },
    stop.signal,
  )
  const calling = Array.from({ length: callers }, () => callOn(world, { random, seen, signal: stop.signal }))
  const end = performance.now() + options.minutes * 60_000
  while (performance.now() < end) {
    await wait(Math.min(10_000, end - performance.now()))
    const made = Object.values(faults).reduce((sum, number) => sum + number, 0)
    const left = Math.max(0, Math.round((end - performance.now()) / 1_000))
    options.progress(`${left} s left: ${seen.length} calls, ${made} faults, gateway no. ${installation.starts}`)
  }
  stop.abort()
  await making
  options.progress('healed; waiting for the calls under way')
  await installation.up()
  await Promise.all(calling)
  return { seen, kills, faults }
}

interface Caller {
  readonly random: () => number
  readonly seen: Seen[]
  readonly signal: AbortSignal
}

let calls = 0

/** One call after another, by one caller. */
async function callOn({ installation, payers, promptTokens, clock }: World, caller: Caller): Promise<void> {
  const { random, seen, signal } = caller
  while (!signal.aborted) {
    const n = ++calls
    const payer = payers[Math.floor(random() * payers.length)]
    const words = 1 + Math.floor(random() * mostWords)
    const stream = random() < 0.8
    const tale = {
      n,
      words,
      paceMs: 1 + Math.floor(random() * mostPaceMs),
      // Some vendors count prompts a little differently, and some do not tell.
      ...(random() < 0.5 && { promptTokens: promptTokens + 3 }),
    }
    const hangUpAfter = stream && random() < 0.15 ? 1 + Math.floor(random() * words * 200) : undefined
    const name = `call-${n}`
    const body = { model: 'test-model', stream, messages: question, tale }
    const fromMs = performance.now()
    const conversation = await converse({
      url: installation.url,
      key: payer?.key ?? '',
      body,
      name,
      now: clock.now,
      ...(hangUpAfter !== undefined && { hangUpAfter }),
    })
    seen.push({ name, tale, stream, conversation, fromMs, toMs: performance.now() })
    // Nobody listens while a gateway starts: to ask all the time would only keep it from starting.
    if (conversation.parting !== 'whole') await wait((conversation.status === 0 ? 500 : 100) + random() * 200)
  }
}

function readTold(path: string): ReadonlyMap<number, Told> {
  if (!existsSync(path)) return new Map()
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
  return new Map(lines.map((line) => JSON.parse(line) as Told).map((told) => [told.n, told]))
}

interface Settling extends Played {
  readonly told: ReadonlyMap<number, Told>
}

/** Waits until nothing is held, stops the gateway, and reads the books. */
async function settleUp(world: World, settling: Settling): Promise<Report> {
  const { installation, payers, options } = world
  const breaches: string[] = []
  for (const payer of payers) breaches.push(...(await stillHeld(installation, payer)))
  const code = await installation.stop()
  if (code !== 0) breaches.push(`the gateway ended with ${code}`)
  breaches.push(...readJournal(installation.journal).map(({ id }) => `the journal still has hold ${id}`))
  options.progress('reading the books')
  const database = await installation.open()
  try {
    const books = openBooks(database)
    for (const { rule, subject, detail } of await books.check()) breaches.push(`${rule}: ${subject}: ${detail}`)
    const booked = await database.query<Booked>(bookedCalls)
    for (const [at, { account }] of payers.entries()) {
      const rows = booked.filter((row) => row.account === account)
      const rest = (balances[at] ?? 0n) - rows.reduce((sum, { charge }) => sum + charge, 0n)
      const posted = (await books.balance(account))?.posted
      if (posted !== rest) breaches.push(`account ${account} has ${posted}, and by its records ${rest}`)
      if (rest < 0n) breaches.push(`account ${account} is overdrawn by ${-rest}`)
    }
    const own = new Set(payers.map(({ account }) => account))
    return report(world, settling, { booked: booked.filter(({ account }) => own.has(account)), breaches })
  } finally {
    await database.close()
  }
}

const bookedCalls = `SELECT id, max(client_request_id) AS name, max(account_id)::int AS account,
  sum(charge) AS charge, min(outcome) FILTER (WHERE seq = 0) AS outcome FROM usage_record GROUP BY day, id`

async function stillHeld(installation: Installation, { key, account }: Payer): Promise<readonly string[]> {
  const end = Date.now() + healMs
  return until('an answer about holds', async () => {
    const standing = await installation.standing(key)
    const { in_flight: inFlight } = await installation.get('/v1/key', key)
    if (standing.held === 0n && inFlight === 0) return []
    if (Date.now() > end)
      return [`account ${account} has ${standing.held} held and ${String(inFlight)} calls in flight`]
    await wait(250)
    return undefined
  })
}

function endingOf({ parting, status, code }: Conversation): string {
  if (parting === 'broken' && status === 0) return 'not answered'
  return code === undefined ? parting : `${parting} ${code}`
}

/** Holds every call against the books. */
function report(
  { options, installation, promptTokens }: World,
  { seen, kills, faults, told }: Settling,
  { booked, breaches }: { readonly booked: readonly Booked[]; readonly breaches: readonly string[] },
): Report {
  const judging = { prices, promptTokens, unbilledMs: checkpointMs + tickMs + lagMs }
  const byId = Map.groupBy(booked, ({ id }) => id)
  const byName = Map.groupBy(booked, ({ name }) => name ?? '')
  const owned = new Set<string>()
  const endings: Record<string, number> = {}
  const verdicts = seen.map((call) => {
    const { conversation, name, tale } = call
    const rows = [...new Set([...(byId.get(conversation.id) ?? []), ...(byName.get(name) ?? [])])]
    for (const { id } of rows) owned.add(id)
    const ending = endingOf(conversation)
    endings[ending] = (endings[ending] ?? 0) + 1
    const isKilled = kills.some((at) => at >= call.fromMs && at <= call.toMs + echoMs)
    const verdict = judge(judging, { ...call, told: told.get(tale.n), isKilled }, rows)
    if (verdict.breach !== undefined) options.progress(`BREACH ${name}: ${verdict.breach}`)
    return { ...verdict, name, conversation, rows }
  })
  const strangers = booked.filter(({ id, charge }) => charge > 0n && !owned.has(id))
  const broken = verdicts.filter(({ breach }) => breach !== undefined)
  const unbilled = verdicts.filter((verdict) => verdict.unbilled > 0n)
  const most = (values: readonly bigint[]) => values.reduce((best, value) => (value > best ? value : best), 0n)
  return {
    faults,
    starts: installation.starts,
    calls: seen.length,
    endings,
    deliveredTokens: verdicts.reduce((sum, { delivered }) => sum + delivered, 0),
    charged: verdicts.reduce((sum, { charge }) => sum + charge, 0n),
    unbilled: unbilled.reduce((sum, verdict) => sum + verdict.unbilled, 0n),
    unbilledStreams: unbilled.length,
    worstUnbilled: most(unbilled.map((verdict) => verdict.unbilled)),
    worstUnbilledMs: Math.max(0, ...unbilled.map((verdict) => verdict.unbilledMs)),
    lostAnswers: verdicts.filter(({ isLostAnswer }) => isLostAnswer).length,
    overcharges: verdicts.filter(({ over }) => over > 0n).length + strangers.length,
    doubleCharges: verdicts.filter(({ isTwice }) => isTwice).length,
    breaches: [
      ...breaches,
      ...broken.map(
        ({ name, breach, conversation, rows }) =>
          `${name} (${conversation.parting} ${conversation.id}): ${breach}; ${rows.map(({ outcome, charge }) => `${outcome} ${charge}`).join(', ')}`,
      ),
      ...strangers.map(({ id, charge }) => `nobody made call ${id}, which was charged ${charge}`),
    ],
  }
}
