import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../db/real-postgres.ts'
import { converse } from '../support/conversation.ts'
import { install, type Installation } from '../support/installation.ts'
import { randomFrom } from '../support/random.ts'
import type { Tale, Told } from '../support/tales.ts'
import { type Fault, livingClock, makeFaults, startVendorProcess } from './faults.ts'
import { keepEvidence, type Report, report } from './report.ts'
import { settleUp } from './settle-up.ts'
import { checkpointMs, type Funded, type Played, type RunOptions, type Seen, type World } from './world.ts'

const yaml = (vendorUrl: string) => `
server: { shutdown_grace_seconds: 3 }
vendors:
  fake: { adapter: openai, base_url: '${vendorUrl}', api_keys: [vendor-secret] }
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    max_output_tokens: 4096
holds: { term_seconds: 8, checkpoint_seconds: ${checkpointMs / 1_000}, first_output_tokens: 64 }
`

const callers = 12
/** What the accounts have: most of them plenty, the last two little. */
const balances = [10_000_000_000n, 10_000_000_000n, 10_000_000_000n, 15_000_000n, 40_000_000n]
const mostWords = 400
const mostPaceMs = 25
/** After the last fault every call must come to an end. */
const endMs = 90_000

/** Makes faults for so many minutes, heals, and holds the books against what callers and vendor saw. */
export async function crashRun(options: RunOptions): Promise<Report> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-crash-run-'))
  const truthPath = join(home, 'vendor.jsonl')
  const port = await freePort()
  const vendor = await startVendorProcess(port, truthPath)
  const { store, gateways } = options
  try {
    const installation = await install({ store, gateways, yaml: yaml(`http://127.0.0.1:${port}`) })
    try {
      const payers: Funded[] = []
      for (const balance of balances) payers.push({ ...(await installation.payer(balance)), balance })
      const promptTokens = await countPrompt(installation)
      const clocks = installation.gateways.map(() => livingClock())
      const world = { options, installation, payers, promptTokens, clocks }
      const played = await play(world, vendor)
      const told = readTold(truthPath)
      const found = report(world, { ...played, told, ...(await settleUp(world)) })
      return found.breaches.length === 0 ? found : { ...found, evidence: keepEvidence(world, { ...played, told }) }
    } finally {
      await installation.remove()
    }
  } finally {
    await vendor.end()
    rmSync(home, { recursive: true, force: true })
  }
}

const question = [{ role: 'user', content: 'Tell me a tale of so many words.' }]

/** Of a call whose vendor does not count, on an account that nobody else uses. */
async function countPrompt(installation: Installation): Promise<number> {
  const { key } = await installation.payer(1_000_000_000n)
  const [{ url }] = installation.gateways
  const tale: Tale = { n: 0, words: 1, paceMs: 0 }
  const body = { model: 'test-model', stream: true, messages: question, tale }
  const { id } = await converse({ url, key, body, name: 'call-0' })
  const { usage } = await installation.get(`/v1/generation?id=${id}`, key)
  return (usage as { readonly prompt_tokens: number }).prompt_tokens
}

async function play(world: World, vendor: Awaited<ReturnType<typeof startVendorProcess>>): Promise<Played> {
  const { options, installation, clocks } = world
  const random = randomFrom(options.seed)
  const stop = new AbortController()
  const seen: Seen[] = []
  const faults: Fault[] = []
  const begin = (fault: Fault) => {
    faults.push(fault)
    return fault
  }
  const complaints: string[] = []
  const complain = (why: string) => void complaints.push(why)
  const lanes = {
    installation,
    vendor,
    clocks,
    random: randomFrom(options.seed + 1),
    rush: options.rush ?? 1,
    postgresStays: options.postgresStays ?? false,
    begin,
    complain,
  }
  const making = makeFaults(lanes, stop.signal)
  const calling = Array.from({ length: callers }, () => callOn(world, { random, seen, signal: stop.signal }))
  const end = performance.now() + options.minutes * 60_000
  while (performance.now() < end) {
    await wait(Math.min(10_000, end - performance.now()))
    const left = Math.max(0, Math.round((end - performance.now()) / 1_000))
    options.progress(`${left} s left: ${seen.length} calls, ${faults.length} faults`)
  }
  stop.abort()
  await making
  options.progress('healed; waiting for the calls under way')
  await installation.up().catch((error: unknown) => complain(String(error)))
  const endless = await unended(calling)
  for (const [at, { falls }] of installation.gateways.entries()) {
    for (const { atMs, why } of falls) {
      complain(`gateway ${at} ${why}`)
      faults.push({ what: 'gateway', kind: 'gateway fell', at, killedMs: atMs, fromMs: atMs, toMs: atMs })
    }
  }
  return { seen, faults, complaints, endless }
}

/** How many callers still listen to a call after all the time that one may take. */
async function unended(calling: readonly Promise<void>[]): Promise<number> {
  let left = calling.length
  const ended = calling.map((caller) => caller.then(() => left--))
  const stop = new AbortController()
  const late = wait(endMs, undefined, { signal: stop.signal }).catch(() => {})
  await Promise.race([Promise.all(ended), late])
  stop.abort()
  return left
}

interface Caller {
  readonly random: () => number
  readonly seen: Seen[]
  readonly signal: AbortSignal
}

let calls = 0

/** One call after another, by one caller, each to any of the gateways. */
async function callOn({ installation, payers, promptTokens, clocks }: World, caller: Caller): Promise<void> {
  const { random, seen, signal } = caller
  while (!signal.aborted) {
    const n = ++calls
    const gateway = Math.floor(random() * installation.gateways.length)
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
      url: installation.gateways[gateway]?.url ?? '',
      key: payer?.key ?? '',
      body,
      name,
      now: clocks[gateway]?.now ?? performance.now,
      ...(hangUpAfter !== undefined && { hangUpAfter }),
    })
    const toMs = performance.now()
    seen.push({ name, gateway, account: payer?.account ?? 0, tale, stream, conversation, fromMs, toMs })
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
