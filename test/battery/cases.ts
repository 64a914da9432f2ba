import { setTimeout as wait } from 'node:timers/promises'
import { printMoney } from '../../src/core/money.ts'
import type { Conversation } from '../support/conversation.ts'
import type { Payer, Store } from '../support/installation.ts'
import type { Scene } from './scene.ts'

/** How large the battery is. */
export interface Size {
  readonly customers: number
}

/** What came of a case. Money in nano-units. */
export interface Row {
  readonly name: string
  readonly budget: bigint
  /** What the books took. */
  readonly spent: bigint
  /** What the callers heard, at the same prices. */
  readonly delivered: bigint
  /** Whole answers. */
  readonly served: number
  /** All other endings, by the code of their error or in words. */
  readonly refused: Readonly<Record<string, number>>
  readonly verdict: 'kept' | 'BROKEN' | 'skipped'
  /** Why it is broken or was skipped. */
  readonly why?: string
}

export interface Case {
  readonly name: string
  /** Only on these kinds of installation, for this reason. */
  readonly only?: { readonly stores: readonly Store[]; readonly why: string }
  run(scene: Scene, size: Size): Promise<Omit<Row, 'name'>>
}

/** Where a budget is for four, so many call. */
const callers = 20
const affordable = 4n
const words = 50
/** Long enough for all callers to be there at once. */
const paceMs = 10
/** A caller gives up after this many tries, whatever is wrong. */
const triesLimit = 300
const againMs = 100
/** What accounts have whose keys have budgets, and so are not their limit. */
const plenty = 100_000_000_000n
const fiveCents = 50_000_000n

const onRedis = { stores: ['redis'], why: 'there is no Redis' } as const

export const cases: readonly Case[] = [
  { name: `${callers} at once on a balance for ${affordable}, streamed`, run: (scene) => onBalance(scene, true) },
  { name: `${callers} at once on a balance for ${affordable}, not streamed`, run: (scene) => onBalance(scene, false) },
  { name: `${callers} at once on a sub-key's budget for ${affordable}`, run: (scene) => onBudget(scene, 1) },
  {
    name: `${callers} at once through 5 sub-keys on their parent's budget for ${affordable}`,
    run: (scene) => onBudget(scene, 5),
  },
  { name: 'max_tokens beyond the balance, streamed', run: (scene) => oversized(scene, true) },
  { name: 'max_tokens beyond the balance, not streamed', run: (scene) => oversized(scene, false) },
  { name: 'a prompt that alone costs more than the balance', run: oversizedPrompt },
  { name: 'the vendor away in mid-burst', run: (scene) => burst(scene, () => scene.vendor.outage(1_000)) },
  {
    name: 'the database away in mid-burst',
    only: { stores: ['postgres', 'redis'], why: 'PGlite lives and dies with its gateway' },
    run: (scene) => burst(scene, () => databaseAway(scene)),
  },
  {
    name: 'Redis silent in mid-burst (SIGSTOP)',
    only: onRedis,
    run: (scene) => burst(scene, () => redisSilent(scene)),
  },
  {
    name: 'Redis started anew in mid-burst (kill -9)',
    only: onRedis,
    run: (scene) => burst(scene, () => redisAnew(scene, 'kept')),
  },
  {
    name: 'Redis started anew without its data in mid-burst (kill -9)',
    only: onRedis,
    run: (scene) => burst(scene, () => redisAnew(scene, 'lost')),
  },
  { name: 'Redis flushed in mid-burst', only: onRedis, run: (scene) => burst(scene, () => redisFlushed(scene)) },
  {
    name: 'Redis and the database away in mid-burst',
    only: onRedis,
    run: (scene) => burst(scene, async () => void (await Promise.all([redisAnew(scene, 'lost'), databaseAway(scene)]))),
  },
  { name: 'a restart in mid-burst (SIGTERM)', run: (scene) => burst(scene, () => restart(scene, 'SIGTERM')) },
  { name: 'a restart in mid-burst (kill -9)', run: (scene) => burst(scene, () => restart(scene, 'SIGKILL')) },
  { name: 'customers with 0.05 USD each, until refused', run: customers },
  { name: 'callers who hang up at random bytes', run: hangUps },
  { name: 'an SDK that sends everything four times', run: stubborn },
]

/** Keeps count of how calls ended. */
function openTally({ worth }: Scene) {
  const refused: Record<string, number> = {}
  let served = 0
  let delivered = 0n
  return {
    add(conversation: Conversation): void {
      delivered += worth(conversation)
      if (conversation.parting === 'whole') served++
      else refused[endingOf(conversation)] = (refused[endingOf(conversation)] ?? 0) + 1
    },
    result: (budget: bigint, spent: bigint): Omit<Row, 'name'> => ({
      budget,
      spent,
      delivered,
      served,
      refused,
      ...(spent <= budget ? { verdict: 'kept' } : { verdict: 'BROKEN', why: 'more was spent than there was' }),
    }),
  }
}

function endingOf({ parting, code, text }: Conversation): string {
  if (parting === 'refused') return code ?? 'refused'
  if (parting === 'failed') return `${code} after content`
  if (parting === 'hung_up') return 'hung up'
  return text === '' ? 'no answer' : 'broke off'
}

async function onBalance(scene: Scene, stream: boolean): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const budget = affordable * scene.cost(words)
  const payer = await scene.installation.payer(budget)
  const call = async () => tally.add(await scene.ask(payer.key, { words, paceMs, stream }))
  await Promise.all(Array.from({ length: callers }, call))
  return tally.result(budget, budget - (await scene.settled(payer)))
}

/** The budget is a key's, and the calls are made with it or, with more than one, with keys below it. */
async function onBudget(scene: Scene, keys: number): Promise<Omit<Row, 'name'>> {
  const { installation } = scene
  const tally = openTally(scene)
  const budget = affordable * scene.cost(words)
  const payer = await installation.payer(plenty)
  const budgets = [{ limit: printMoney(budget), window: 'total' }]
  const parent = await installation.admin('/admin/v1/keys', { kind: 'sub', parent: payer.id, budgets })
  const below = keys === 1 ? [parent] : []
  while (below.length < keys)
    below.push(await installation.admin('/admin/v1/keys', { kind: 'sub', parent: parent['id'] }))
  const call = async (_: unknown, at: number) =>
    tally.add(await scene.ask(String(below[at % keys]?.['key']), { words, paceMs, stream: at % 2 === 0 }))
  await Promise.all(Array.from({ length: callers }, call))
  return tally.result(budget, plenty - (await scene.settled(payer)))
}

/** One call that is let in with a first hold and outgrows the balance, and one that is not let in. */
async function oversized(scene: Scene, stream: boolean): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const budget = scene.cost(1_500)
  const payer = await scene.installation.payer(budget)
  for (let turn = 0; turn < 2; turn++) tally.add(await scene.ask(payer.key, { words: 3_000, maxTokens: 4_096, stream }))
  return tally.result(budget, budget - (await scene.settled(payer)))
}

async function oversizedPrompt(scene: Scene): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const budget = scene.cost(1)
  const before = scene.vendor.requests()
  const payer = await scene.installation.payer(budget)
  // Some two thousand tokens.
  const prompt = 'Once upon a time there was a tale. '.repeat(250)
  for (const stream of [true, false]) tally.add(await scene.ask(payer.key, { words: 1, stream, prompt }))
  const result = tally.result(budget, budget - (await scene.settled(payer)))
  const called = scene.vendor.requests() - before
  return called === 0 ? result : { ...result, verdict: 'BROKEN', why: `the vendor was called ${called} times` }
}

/** Calls until the money is gone; in the middle of it something happens. */
async function burst(scene: Scene, happen: () => Promise<void>): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const budget = 30n * scene.cost(words)
  const payer = await scene.installation.payer(budget)
  let ended = 0
  let happening: Promise<void> | undefined
  const call = async (_: unknown, at: number) => {
    await untilSpent(async () => {
      const conversation = await scene.ask(payer.key, { words, paceMs, stream: at % 4 !== 0 })
      tally.add(conversation)
      // The second round of calls is under way then.
      if (++ended === 12) happening = wait(200).then(happen)
      return conversation
    })
  }
  await Promise.all(Array.from({ length: 10 }, call))
  await happening
  const result = tally.result(budget, budget - (await scene.settled(payer)))
  return happening ? result : { ...result, verdict: 'BROKEN', why: 'it was over before anything happened' }
}

/** One call after another until one is refused for lack of money. */
async function untilSpent(call: () => Promise<Conversation>): Promise<void> {
  for (let turn = 0; turn < triesLimit; turn++) {
    const { parting, code } = await call()
    if (code === 'insufficient_quota') return
    if (parting !== 'whole') await wait(againMs)
  }
}

/** A single gateway may lose the lock on its database and end; it is back when the database is. */
async function databaseAway({ installation }: Scene): Promise<void> {
  await installation.postgres?.crash()
  await wait(2_000)
  await installation.postgres?.restart()
  await installation.up()
}

/** For longer than a server is waited for: the gateways borrow for themselves. */
async function redisSilent({ installation: { redis } }: Scene): Promise<void> {
  redis?.process.kill('SIGSTOP')
  await wait(3_000)
  redis?.process.kill('SIGCONT')
}

async function redisAnew({ installation: { redis } }: Scene, files: 'kept' | 'lost'): Promise<void> {
  await redis?.crash()
  await wait(1_000)
  await redis?.revive(files)
}

async function redisFlushed({ installation: { redis } }: Scene): Promise<void> {
  await redis?.send('FLUSHALL')
}

/** Of the gateway, or of one of several. */
async function restart({ installation }: Scene, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const [gateway] = installation.gateways
  await gateway.process.kill(signal)
  await gateway.up()
}

/** Every one has two calls at a time. */
async function customers(scene: Scene, size: Size): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const payers: Payer[] = []
  while (payers.length < size.customers) payers.push(await scene.installation.payer(fiveCents))
  const call = ({ key }: Payer) =>
    untilSpent(async () => {
      const conversation = await scene.ask(key, {
        words: 20 + Math.floor(scene.random() * 100),
        stream: scene.random() < 0.5,
      })
      tally.add(conversation)
      return conversation
    })
  await Promise.all(payers.flatMap((payer) => [call(payer), call(payer)]))
  let spent = 0n
  let over = 0
  for (const payer of payers) {
    const rest = await scene.settled(payer)
    spent += fiveCents - rest
    if (rest < 0n) over++
  }
  const result = tally.result(fiveCents * BigInt(size.customers), spent)
  return over === 0 ? result : { ...result, verdict: 'BROKEN', why: `${over} customers spent more than they had` }
}

async function hangUps(scene: Scene): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const budget = 20n * scene.cost(words)
  const payer = await scene.installation.payer(budget)
  const call = () =>
    untilSpent(async () => {
      const hangUpAfter = 1 + Math.floor(scene.random() * 12_000)
      const conversation = await scene.ask(payer.key, { words, paceMs: 2, hangUpAfter })
      tally.add(conversation)
      return conversation
    })
  await Promise.all(Array.from({ length: 10 }, call))
  return tally.result(budget, budget - (await scene.settled(payer)))
}

/** Three tries more after whatever failed, be it refused for good; of the vendor's answers a third fails. */
async function stubborn(scene: Scene): Promise<Omit<Row, 'name'>> {
  const tally = openTally(scene)
  const budget = 8n * scene.cost(words)
  const payer = await scene.installation.payer(budget)
  scene.vendor.fail(1 / 3)
  const call = async (_: unknown, at: number) => {
    for (let turn = 0; turn < 4; turn++) {
      const conversation = await scene.ask(payer.key, { words, paceMs: 2, stream: at % 2 === 0 })
      tally.add(conversation)
      if (conversation.parting === 'whole') return
      await wait(againMs)
    }
  }
  await Promise.all(Array.from({ length: callers }, call))
  scene.vendor.fail(0)
  return tally.result(budget, budget - (await scene.settled(payer)))
}

/** Runs a case, or says why it cannot be run here. A case that cannot be played to its end is broken. */
export async function runCase({ name, only, run }: Case, scene: Scene, size: Size): Promise<Row> {
  if (only && !only.stores.includes(scene.store)) {
    return { name, budget: 0n, spent: 0n, delivered: 0n, served: 0, refused: {}, verdict: 'skipped', why: only.why }
  }
  try {
    return { name, ...(await run(scene, size)) }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return { name, budget: 0n, spent: 0n, delivered: 0n, served: 0, refused: {}, verdict: 'BROKEN', why }
  }
}
