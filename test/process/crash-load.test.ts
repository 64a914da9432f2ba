import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Tokenizer } from '../../src/ports.ts'
import type { Heard } from '../support/caller.ts'
import type { GatewayProcess } from '../support/process.ts'
import { randomFrom } from '../support/random.ts'
import { type FakeVendor, startVendor } from '../support/vendor.ts'
import {
  askForStory,
  balance,
  costOf,
  creditsOf,
  type House,
  newHouse,
  promptTokens,
  type Receipt,
  receiptOf,
  story,
  storyteller,
  usageOf,
} from './house.ts'

const rounds = 7
/** On a busy machine fewer rounds must do, because each starts a gateway. */
const fewestRounds = 3
const roundsMs = 30_000
const callers = 6
const mostWords = 150
/** Longer than the first checkpoint and the next one take, and about as long as the longest story. */
const mostMs = 1_600
const seed = Math.floor(Math.random() * 2 ** 31)
const random = randomFrom(seed)

let vendor: FakeVendor
let tokenizer: Tokenizer
let house: House
let gateway: GatewayProcess

beforeAll(async () => {
  vendor = await startVendor(storyteller)
  tokenizer = await openTokenizer()
  house = newHouse(vendor.url)
  gateway = await house.start()
})
afterAll(async () => {
  await gateway.kill('SIGKILL')
  await Promise.all([vendor.close(), tokenizer.close()])
  house.remove()
})

interface Truth {
  readonly words: number
  readonly heard: Heard
}

test('whenever a gateway is killed under load, every call is charged by what its caller heard, and once', async () => {
  const prompt = await promptTokens(gateway)
  const truths: Truth[] = []
  const enough = Date.now() + roundsMs
  for (let round = 0; round < rounds && (round < fewestRounds || Date.now() < enough); round++) {
    const load = Promise.all(Array.from({ length: callers }, () => callUntilDead(gateway)))
    await wait(random() * mostMs)
    await gateway.kill('SIGKILL')
    truths.push(...(await load).flat())
    gateway = await house.start()
  }
  // A caller who got no head got no content either: the balance tells whether such calls were charged.
  const named = truths.filter(({ heard }) => heard.id !== '')
  let charged = costOf(prompt, await tokenizer.count(story(1)))
  const faults: string[] = []
  for (const truth of named) {
    const receipt = await receiptOf(gateway, truth.heard)
    charged += receipt?.cost ?? 0n
    const why = await fault(truth, receipt, prompt)
    if (why !== undefined) faults.push(`${truth.heard.id}: ${why}`)
  }
  expect(faults, `seed ${seed}`).toEqual([])
  expect(await creditsOf(gateway), `seed ${seed}`).toEqual({ balance: balance - charged, held: 0n })
  // The kills were worth their while: calls ended whole, and calls broke after content.
  expect(named.some(({ heard }) => heard.done)).toBe(true)
  expect(named.some(({ heard }) => !heard.done && heard.text !== '')).toBe(true)

  await gateway.kill('SIGKILL')
  expect(house.holds(), `seed ${seed}`).toEqual([])
  expect(await house.faults(), `seed ${seed}`).toEqual([])
}, 150_000)

/** One call after another, until nobody answers. */
async function callUntilDead(living: GatewayProcess): Promise<Truth[]> {
  const truths: Truth[] = []
  let isDead = false
  void living.ended.then(() => {
    isDead = true
  })
  while (!isDead) {
    const words = 1 + Math.floor(random() * mostWords)
    truths.push({ words, heard: await askForStory(living, words).over })
  }
  return truths
}

/** Why a receipt is not what its caller has to pay; undefined if it is. */
async function fault(
  { words, heard }: Truth,
  receipt: Receipt | undefined,
  prompt: number,
): Promise<string | undefined> {
  const cost = receipt?.cost ?? 0n
  // The gateway may have settled a whole call and died before it could say so.
  if (heard.done || receipt?.outcome === 'complete') {
    const full = await fullCost(words, prompt)
    const isRight = cost === full && heard.text === story(words)
    return isRight ? undefined : `a whole call of ${words} words costs ${cost}, not ${full}`
  }
  if (receipt && receipt.outcome !== 'reaped') return `a broken call is ${receipt.outcome}`
  const most = heard.text === '' ? 0n : costOf(prompt, await tokenizer.count(heard.text))
  return cost <= most ? undefined : `${cost} was charged for what is worth ${most}`
}

/** What a call that was heard to its end costs. */
async function fullCost(words: number, prompt: number): Promise<bigint> {
  const usage = usageOf(words)
  if (usage) return costOf(usage.prompt_tokens, usage.completion_tokens)
  return costOf(prompt, await tokenizer.count(story(words)))
}
