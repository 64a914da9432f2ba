import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Heard } from '../support/caller.ts'
import { type GatewayProcess, until } from '../support/process.ts'
import { type FakeVendor, startVendor } from '../support/vendor.ts'
import {
  askForStory,
  balance,
  costOf,
  creditsOf,
  type House,
  newHouse,
  promptTokens,
  receiptOf,
  story,
  storyteller,
  unfinished,
} from './house.ts'

/** A gateway was killed in mid-stream, after a checkpoint, and started again; here is what is left. */
let vendor: FakeVendor
let house: House
let gateway: GatewayProcess
let prompt: number
let broken: Heard
let finished: Heard
let left: ReturnType<House['holds']>

const tokenizer = openTokenizer()

beforeAll(async () => {
  vendor = await startVendor(storyteller)
  house = newHouse(vendor.url)
  gateway = await house.start()
  prompt = await promptTokens(gateway)
  vendor.behave(unfinished)
  const call = askForStory(gateway, 40)
  await until('a whole story', () => (call.heard.text === story(40) ? true : undefined))
  await until('a checkpoint', () => house.holds().find(({ metered }) => metered.started && metered.outputTokens > 0))
  vendor.behave(storyteller)
  finished = await askForStory(gateway, 10).over
  await gateway.kill('SIGKILL')
  broken = await call.over
  left = house.holds()
  gateway = await house.start()
})
afterAll(async () => {
  await gateway.kill('SIGKILL')
  await Promise.all([vendor.close(), (await tokenizer).close()])
  house.remove()
})

test('the caller of a stream whose gateway was killed gets no end that looks like one', () => {
  const id = expect.stringMatching(/^[0-9a-f-]{36}$/) as string
  expect(broken).toEqual({ status: 200, id, text: story(40), error: undefined, done: false })
})

test('the stream is charged at its last checkpoint, which is never more than what was forwarded', async () => {
  const checkpoint = left.find(({ id }) => id === broken.id)?.metered
  const completionTokens = checkpoint?.outputTokens ?? 0
  const cost = costOf(prompt, completionTokens)
  expect(await receiptOf(gateway, broken)).toEqual({
    outcome: 'reaped',
    source: 'checkpoint',
    promptTokens: prompt,
    completionTokens,
    cost,
  })
  expect(completionTokens).toBeGreaterThan(0)
  expect(completionTokens).toBeLessThanOrEqual(await (await tokenizer).count(broken.text))
})

test('the call that was settled just before is charged exactly once', async () => {
  expect(finished.done).toBe(true)
  expect(await receiptOf(gateway, finished)).toEqual({
    outcome: 'complete',
    source: 'vendor',
    promptTokens: 7,
    completionTokens: 10,
    cost: costOf(7, 10),
  })
})

test('no hold is left, and the balance has lost what the receipts say', async () => {
  const receipts = await Promise.all([broken, finished].map((heard) => receiptOf(gateway, heard)))
  const first = costOf(prompt, await (await tokenizer).count(story(1)))
  const charged = receipts.reduce((sum, receipt) => sum + (receipt?.cost ?? 0n), first)
  expect(await creditsOf(gateway)).toEqual({ balance: balance - charged, held: 0n })
})
