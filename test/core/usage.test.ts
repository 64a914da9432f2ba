import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import {
  inputTotal,
  mergeUsage,
  normalUsage,
  outputTotal,
  rawUsage,
  type RawUsage,
  usageBody,
} from '../../src/core/usage.ts'

function read(...usages: readonly JsonObject[]): ReturnType<typeof normalUsage> {
  let seen: RawUsage | undefined
  for (const usage of usages) {
    const raw = rawUsage(usage)
    if (raw) seen = mergeUsage(seen, raw)
  }
  return seen ? normalUsage(seen) : { counts: {}, anomalies: [] }
}

const facts: readonly (readonly [string, JsonObject, ReturnType<typeof normalUsage>])[] = [
  [
    'cached tokens are taken out of the input',
    { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110, prompt_tokens_details: { cached_tokens: 60 } },
    { counts: { input: 40, cached_input: 60, output: 10 }, anomalies: [] },
  ],
  [
    'cache hits under two names are one number',
    {
      prompt_tokens: 540,
      completion_tokens: 45,
      prompt_tokens_details: { cached_tokens: 512 },
      prompt_cache_hit_tokens: 512,
    },
    { counts: { input: 28, cached_input: 512, output: 45 }, anomalies: [] },
  ],
  [
    'cached tokens are found on top',
    { prompt_tokens: 10, completion_tokens: 1, cached_tokens: 4 },
    { counts: { input: 6, cached_input: 4, output: 1 }, anomalies: [] },
  ],
  [
    'cached tokens are found under the fourth name',
    { prompt_tokens: 10, completion_tokens: 1, num_cached_tokens: 4 },
    { counts: { input: 6, cached_input: 4, output: 1 }, anomalies: [] },
  ],
  [
    'tokens written to a cache have a price of their own',
    { prompt_tokens: 100, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 20, cache_write_tokens: 30 } },
    { counts: { input: 50, cached_input: 20, cache_write_5m: 30, output: 1 }, anomalies: [] },
  ],
  [
    'tokens written to a cache are found on top',
    { prompt_tokens: 100, completion_tokens: 1, cache_creation_input_tokens: 30 },
    { counts: { input: 70, cache_write_5m: 30, output: 1 }, anomalies: [] },
  ],
  [
    'more cached tokens than the prompt has are cut to the prompt',
    { prompt_tokens: 208, completion_tokens: 9, total_tokens: 217, prompt_tokens_details: { cached_tokens: 314 } },
    { counts: { input: 0, cached_input: 208, output: 9 }, anomalies: ['cached_above_input'] },
  ],
  [
    'reasoning and audio are taken out of the output',
    { prompt_tokens: 1, completion_tokens: 50, completion_tokens_details: { reasoning_tokens: 30, audio_tokens: 15 } },
    { counts: { input: 1, output: 5, reasoning: 30, audio_output: 15 }, anomalies: [] },
  ],
  [
    'reasoning that only the total holds is added to the output',
    {
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: 115,
      completion_tokens_details: { reasoning_tokens: 100 },
    },
    { counts: { input: 10, output: 5, reasoning: 100 }, anomalies: ['reasoning_outside_output'] },
  ],
  [
    'reasoning above the completion is added to it',
    { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, completion_tokens_details: { reasoning_tokens: 40 } },
    { counts: { input: 10, output: 5, reasoning: 40 }, anomalies: ['reasoning_above_output'] },
  ],
  [
    'audio that only the total holds is added to the input',
    { prompt_tokens: 9, completion_tokens: 248, total_tokens: 632, prompt_tokens_details: { audio_tokens: 375 } },
    { counts: { input: 9, audio_input: 375, output: 248 }, anomalies: ['audio_outside_input'] },
  ],
  [
    'a rest of the total that nothing explains is output',
    { prompt_tokens: 10, completion_tokens: 20, total_tokens: 92 },
    { counts: { input: 10, output: 82 }, anomalies: ['total_mismatch'] },
  ],
  [
    'a total that is too small is flagged and changes nothing',
    { prompt_tokens: 10, completion_tokens: 20, total_tokens: 25 },
    { counts: { input: 10, output: 20 }, anomalies: ['total_mismatch'] },
  ],
  [
    'zero is a number, not absence',
    { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
    { counts: { input: 0, output: 0 }, anomalies: [] },
  ],
  [
    'null is absence',
    { prompt_tokens: 3, completion_tokens: 4, total_tokens: null, prompt_tokens_details: null },
    { counts: { input: 3, output: 4 }, anomalies: [] },
  ],
  [
    'without the number of the prompt nothing is said of the input',
    { completion_tokens: 4, prompt_tokens_details: { cached_tokens: 7 } },
    { counts: { output: 4 }, anomalies: [] },
  ],
]

describe('the normal form of usage', () => {
  test.each(facts)('%s', (_, usage, expected) => {
    expect(read(usage)).toEqual(expected)
  })

  test.each([-1, 1.5, '12', true, [1], {}, 2 ** 53, Infinity])('a prompt of %j is left out and flagged', (value) => {
    const usage = { prompt_tokens: value as JsonObject, completion_tokens: 7 }
    expect(read(usage)).toEqual({ counts: { output: 7 }, anomalies: ['invalid_prompt_tokens'] })
  })

  test('an object without any of our fields is no usage', () => {
    expect(rawUsage({ queue_time: 0.1 })).toBeUndefined()
  })

  test('usage that grows from event to event is never added up', () => {
    const growing = [1, 2, 3].map((n) => ({ prompt_tokens: 10, completion_tokens: n, total_tokens: 10 + n }))
    expect(read(...growing)).toEqual({ counts: { input: 10, output: 3 }, anomalies: [] })
  })

  test('a number that was broken once and right another time is right', () => {
    const usages = [{ prompt_tokens: -1, completion_tokens: 1 }, { prompt_tokens: 5 }]
    expect(read(...usages)).toEqual({ counts: { input: 5, output: 1 }, anomalies: [] })
  })
})

const count = fc.oneof(fc.nat(1000), fc.constant(undefined))
const plausible = fc.record({
  prompt_tokens: fc.nat(1000),
  completion_tokens: fc.nat(1000),
  total_tokens: count,
  prompt_tokens_details: fc.record({ cached_tokens: count, cache_write_tokens: count, audio_tokens: count }),
  completion_tokens_details: fc.record({ reasoning_tokens: count, audio_tokens: count }),
})
const strange = fc.oneof(fc.jsonValue(), fc.nat(), fc.double(), fc.constant(-1), fc.constant(Number.MAX_SAFE_INTEGER))
const strangeUsage = fc.dictionary(
  fc.constantFrom(
    'prompt_tokens',
    'completion_tokens',
    'total_tokens',
    'cached_tokens',
    'cache_write_tokens',
    'reasoning_tokens',
  ),
  strange,
) as fc.Arbitrary<JsonObject>

describe('of any usage', () => {
  test('the parts sum to the totals', () => {
    fc.assert(
      fc.property(plausible, (usage) => {
        const { counts, anomalies } = read(usage)
        const outside = anomalies.some((anomaly) => /outside|above_output|mismatch/.test(anomaly))
        expect(inputTotal(counts)).toBe(
          usage.prompt_tokens +
            (anomalies.includes('audio_outside_input') ? (usage.prompt_tokens_details.audio_tokens ?? 0) : 0),
        )
        expect(outputTotal(counts)).toBeGreaterThanOrEqual(usage.completion_tokens)
        if (!outside) expect(outputTotal(counts)).toBe(usage.completion_tokens)
      }),
    )
  })

  test('every count is whole, safe and not negative', () => {
    fc.assert(
      fc.property(fc.array(strangeUsage, { minLength: 1, maxLength: 4 }), (usages) => {
        const { counts } = read(...usages)
        const all = [...Object.values(counts), inputTotal(counts), outputTotal(counts)]
        expect(all.filter((value) => !Number.isSafeInteger(value) || value < 0 || Object.is(value, -0))).toEqual([])
      }),
    )
  })

  test('the order in which it comes does not matter', () => {
    fc.assert(
      fc.property(strangeUsage, strangeUsage, (one, other) => {
        expect(read(one, other)).toEqual(read(other, one))
      }),
    )
  })
})

describe('counts as the usage that a caller is told', () => {
  test('have all that was read and all that was generated, and of it what was cached, written, thought and heard', () => {
    const counts = { input: 1, cached_input: 20, cache_write_5m: 300, cache_write_1h: 4_000, audio_input: 50_000 }
    expect(usageBody({ ...counts, output: 1, reasoning: 20, audio_output: 300 })).toEqual({
      prompt_tokens: 54_321,
      completion_tokens: 321,
      total_tokens: 54_642,
      prompt_tokens_details: { cached_tokens: 20, cache_write_tokens: 4_300, audio_tokens: 50_000 },
      completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 300 },
    })
  })

  test('read again are the counts that they were', () => {
    const count = fc.nat({ max: 100_000 })
    // The fresh part of each side is told even where it is nothing.
    const always = ['input', 'output']
    const units = { input: count, cached_input: count, cache_write_5m: count, output: count, reasoning: count }
    fc.assert(
      fc.property(fc.record(units), (counts) => {
        const again = normalUsage(rawUsage(usageBody(counts)) as RawUsage)
        const said = Object.fromEntries(
          Object.entries(counts).filter(([unit, value]) => value > 0 || always.includes(unit)),
        )
        expect(again).toEqual({ counts: said, anomalies: [] })
      }),
    )
  })
})
