import { describe, expect, test } from 'vitest'
import type { Conversation } from '../support/conversation.ts'
import { story, type Tale } from '../support/tales.ts'
import { type Booked, judge, type Truth } from './truth.ts'

const judging = { prices: { input: 1n, output: 10n }, promptTokens: 7, unbilledMs: 2_000 }
const tale: Tale = { n: 1, words: 5, paceMs: 1 }

/** A word each second. */
const arrivals = (words: number) =>
  Array.from({ length: words }, (_, at) => ({ atMs: at * 1_000, length: story(at + 1).length }))

function conversation(words: number, over: Partial<Conversation> = {}): Conversation {
  const heard = { parting: 'whole', status: 200, id: 'a', code: undefined, usage: undefined } as const
  return { ...heard, text: story(words), arrivals: arrivals(words), ...over }
}

const truth = (over: Partial<Truth> = {}): Truth => ({
  name: 'call-1',
  tale,
  stream: true,
  conversation: conversation(5),
  told: { n: 1, words: 5, isWhole: true },
  isKilled: false,
  ...over,
})
const booked = (charge: bigint, over: Partial<Booked> = {}): Booked => {
  return { id: 'a', name: 'call-1', account: 1, charge, outcome: 'complete', ...over }
}
const breach = (seen: Truth, ...rows: readonly Booked[]) => judge(judging, seen, rows).breach

const broken = (words: number, over: Partial<Truth> = {}) =>
  truth({ conversation: conversation(words, { parting: 'broken' }), told: undefined, ...over })

describe('the judge of a crash run', () => {
  test('takes a whole answer at its exact price only', () => {
    expect([57n, 58n, 56n].map((charge) => breach(truth(), booked(charge)))).toEqual([
      undefined,
      'it was charged 1 too much',
      'it was charged 1 too little although nobody was killed',
    ])
  })

  test('takes the count that the vendor told for the price of a whole answer', () => {
    const seen = truth({ conversation: conversation(5, { usage: { prompt: 10, completion: 5 } }) })
    expect([breach(seen, booked(60n)), breach(seen, booked(57n))]).toEqual([
      undefined,
      'it was charged 3 too little although nobody was killed',
    ])
  })

  test('finds a call that was charged under two ids', () => {
    expect(breach(truth(), booked(57n), booked(57n, { id: 'b' }))).toBe('it was charged twice')
  })

  test('finds a charge for a call that was refused', () => {
    const refused = conversation(0, { parting: 'refused', status: 502, code: 'vendor_error' })
    expect([breach(truth({ conversation: refused })), breach(truth({ conversation: refused }), booked(1n))]).toEqual([
      undefined,
      'it was charged 1 too much',
    ])
  })

  test('lets a killed stream lose what came in the last two seconds, and no more', () => {
    const seen = broken(4, { isKilled: true })
    expect([breach(seen, booked(17n)), breach(seen)]).toEqual([undefined, 'its words came unbilled for 3000 ms'])
  })

  test('lets a call whose gateway and Redis died together go uncharged, and charges it no more than any other', () => {
    const seen = broken(4, { isKilled: true, isExposed: true })
    expect([breach(seen), breach(seen, booked(57n))]).toEqual([undefined, 'it was charged 10 too much'])
  })

  test('finds a killed stream that was charged for more than was heard', () => {
    const seen = broken(4, { isKilled: true })
    expect(breach(seen, booked(57n, { outcome: 'reaped' }))).toBe('it was charged 10 too much')
  })

  test('finds a stream that broke off without a kill', () => {
    expect(breach(broken(4), booked(47n))).toBe('it broke off although nobody was killed')
  })

  test('lets a caller who hung up be charged for what his vendor sent, and no more', () => {
    const seen = truth({
      conversation: conversation(2, { parting: 'hung_up' }),
      told: { n: 1, words: 3, isWhole: false },
    })
    expect([27n, 37n, 47n, 17n].map((charge) => breach(seen, booked(charge)))).toEqual([
      undefined,
      undefined,
      'it was charged 10 too much',
      'it was charged 10 too little although nobody was killed',
    ])
  })

  test('counts an answer that was paid for and died with its gateway apart', () => {
    const seen = broken(0, { stream: false, isKilled: true })
    const { isLostAnswer, over, unbilled } = judge(judging, seen, [booked(57n)])
    expect([isLostAnswer, over, unbilled]).toEqual([true, 0n, 0n])
  })
})
