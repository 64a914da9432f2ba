import { expect, test } from 'vitest'
import { priceList, priceOf, tokensOf } from './price.ts'

const nothing = {
  input: 0,
  cached_input: 0,
  cache_write_5m: 0,
  cache_write_1h: 0,
  output: 0,
  reasoning: 0,
  audio_input: 0,
  audio_output: 0,
}

test('a price list has every nano of a price', () => {
  expect(priceList()['cached_input']).toBe('0.300000301')
})

test('a part of a nano is charged as a whole one', () => {
  expect(priceOf({ ...nothing, input: 1 })).toBe(3_001n)
})

test('nothing costs nothing', () => {
  expect(priceOf(nothing)).toBe(0n)
})

test('cached, written, thought and spoken tokens are taken out of their totals', () => {
  const metering = { input: 100, cache_read: 30, cache_write: 20, output: 50, reasoning: 10 }
  const usage = { prompt_tokens_details: { audio_tokens: 5 }, completion_tokens_details: { audio_tokens: 7 } }
  expect(tokensOf(metering, usage)).toEqual({
    input: 45,
    cached_input: 30,
    cache_write_5m: 20,
    cache_write_1h: 0,
    output: 33,
    reasoning: 10,
    audio_input: 5,
    audio_output: 7,
  })
})
