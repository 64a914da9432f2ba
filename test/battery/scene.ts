import type { ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { openBooks } from '../../src/db/books.ts'
import { readJournal } from '../../src/platform/journal.ts'
import { type Conversation, converse } from '../support/conversation.ts'
import { install, type Installation, type Payer, type Store } from '../support/installation.ts'
import { until } from '../support/process.ts'
import { randomFrom } from '../support/random.ts'
import { costOf, type Tale, tell } from '../support/tales.ts'
import { type Behaviour, type FakeVendor, json, startVendor } from '../support/vendor.ts'

/** Nano-units a token. Dear, so that a few hundred tokens spend a customer's five cents. */
const prices = { input: 10_000n, output: 100_000n }

const yaml = (vendorUrl: string) => `
server: { shutdown_grace_seconds: 2 }
vendors:
  fake: { adapter: openai, base_url: '${vendorUrl}', api_keys: [vendor-secret] }
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 10, output: 100 }
    max_output_tokens: 4096
holds: { term_seconds: 10, checkpoint_seconds: 2 }
`

/** Gateway processes, their vendor, and what the cases share. */
export interface Scene {
  readonly store: Store
  readonly installation: Installation
  readonly vendor: Stage
  /** From 0 up to 1; a seed repeats them. */
  readonly random: () => number
  /** The gateway's own count of the prompt of every call that brings none of its own. */
  readonly promptTokens: number
  /** Each call goes to the next gateway. */
  ask(key: string, call: Asked): Promise<Conversation>
  /** What a call of this many words costs. */
  cost(words: number): bigint
  /** What its caller heard of a call, as the price book has it. */
  worth(conversation: Conversation): bigint
  /** Waits until nothing is held and everything is in the books, and gives the account's balance. */
  settled(payer: Payer): Promise<bigint>
  /** Stops the gateways and says what is wrong in its books. */
  close(): Promise<readonly string[]>
}

/** One call: an answer of `words` words, and of no more than `maxTokens` if its vendor keeps to it. */
export interface Asked {
  readonly words: number
  readonly maxTokens?: number
  readonly paceMs?: number
  readonly stream?: boolean
  readonly prompt?: string
  readonly hangUpAfter?: number
}

/** The vendor with its misfortunes. */
export interface Stage {
  /** How many requests came so far. */
  readonly requests: () => number
  /** Breaks every connection, those of the next `ms` too. */
  outage(ms: number): Promise<void>
  /** From now on this share of the requests fails, in mid-answer or before. */
  fail(share: number): void
  close(): Promise<void>
}

/** Gateways on a Redis. */
const replicas = 3

const question = 'Tell me a tale of so many words.'
const settleMs = 60_000

export async function openScene(store: Store, seed: number): Promise<Scene> {
  const random = randomFrom(seed)
  const { vendor, stage } = await openStage(random)
  const gateways = store === 'redis' ? replicas : 1
  const installation = await install({ store, gateways, yaml: yaml(vendor.url) })
  let n = 0
  let promptTokens: number | undefined
  const scene: Scene = {
    store,
    installation,
    vendor: stage,
    random,
    get promptTokens() {
      return promptTokens ?? 0
    },
    ask(key, { words, maxTokens = words, paceMs = 0, stream = true, prompt = question, hangUpAfter }) {
      const { url } = installation.gateways[++n % gateways] ?? installation.gateways[0]
      const tale: Tale = { n, words, paceMs, ...(promptTokens !== undefined && { promptTokens }) }
      const messages = [{ role: 'user', content: prompt }]
      const body = { model: 'test-model', stream, max_tokens: maxTokens, messages, tale }
      return converse({ url, key, body, ...(hangUpAfter !== undefined && { hangUpAfter }) })
    },
    cost: (words) => costOf(prices, scene.promptTokens, words),
    worth({ text, usage }) {
      if (usage) return costOf(prices, usage.prompt, usage.completion)
      return text === '' ? 0n : scene.cost(text.split(' ').length - 1)
    },
    settled: (payer) => settled(installation, payer),
    close: () => close(installation, stage),
  }
  try {
    promptTokens = await countPrompt(scene)
  } catch (error) {
    await scene.close()
    throw error
  }
  return scene
}

/** A call whose vendor does not count is charged by the gateway's own count. */
async function countPrompt(scene: Scene): Promise<number> {
  const payer = await scene.installation.payer(1_000_000_000n)
  const { id, text } = await scene.ask(payer.key, { words: 1 })
  if (text === '') throw new Error('the first call got no answer')
  // It was another gateway's call, and is on its way to the books.
  const { usage } = await until('a receipt', () =>
    scene.installation.get(`/v1/generation?id=${id}`, payer.key).catch(() => undefined),
  )
  return (usage as { readonly prompt_tokens: number }).prompt_tokens
}

async function settled(installation: Installation, { key }: Payer): Promise<bigint> {
  const end = Date.now() + settleMs
  return until('an account without holds', async () => {
    const left = await installation.unsettled()
    const standing = left.length === 0 ? await installation.standing(key).catch(() => undefined) : undefined
    if (standing?.held === 0n) return standing.balance
    if (Date.now() > end) throw new Error([`${standing?.held} is held still`, ...left].join('; '))
    await wait(100)
    return undefined
  })
}

/** What the gateways left in order when they were told to stop. */
async function close(installation: Installation, stage: Stage): Promise<readonly string[]> {
  try {
    const codes = await installation.stop()
    const journals = installation.gateways.flatMap(({ journal }) => readJournal(journal))
    const holds = journals.map(({ id }) => `the journal still has hold ${id}`)
    const database = await installation.open()
    const faults = await openBooks(database).check()
    await database.close()
    const books = faults.map(({ rule, subject, detail }) => `${rule}: ${subject}: ${detail}`)
    const ends = codes.flatMap((code, at) => (code === 0 ? [] : [`gateway ${at} ended with ${code}`]))
    return [...ends, ...holds, ...books]
  } finally {
    await installation.remove()
    await stage.close()
  }
}

async function openStage(random: () => number): Promise<{ vendor: FakeVendor; stage: Stage }> {
  const live = new Set<ServerResponse>()
  let awayUntil = 0
  let failing = 0
  const behaviour: Behaviour = async (call, response) => {
    if (Date.now() < awayUntil) return void response.destroy()
    live.add(response)
    response.once('close', () => live.delete(response))
    if (random() >= failing) return void (await tell(call.body, response))
    if (random() < 0.5) return json(response, 500, { error: { message: 'The vendor fails.', code: 'server_error' } })
    const told = tell(call.body, response)
    await wait(random() * 100)
    response.destroy()
    await told
  }
  const vendor = await startVendor(behaviour)
  const stage: Stage = {
    requests: () => vendor.calls.length,
    async outage(ms) {
      awayUntil = Date.now() + ms
      for (const response of live) response.destroy()
      await wait(ms)
    },
    fail(share) {
      failing = share
    },
    close: () => vendor.close(),
  }
  return { vendor, stage }
}
