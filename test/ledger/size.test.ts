import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { charge, type Counts } from '../../src/core/price.ts'
import { rateFor } from '../../src/core/rates.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { coveredOutput, quote, withRequest } from '../../src/ledger/size.ts'
import { anyCounts, anyPrices, setOf } from '../support/prices.ts'

const startedAtMs = Date.UTC(2026, 6, 24, 17)
const moment = fc.integer({ min: 0, max: 4_102_444_800_000 })
const place = fc.constantFrom(undefined, 'eu', 'us', 'mars')
const speed = fc.constantFrom(undefined, 'fast')

describe('a quote', () => {
  test('is never below the charge of a call that uses no more than was quoted, however it was served', () => {
    const served = fc.constantFrom(undefined, 'default', 'flex', 'priority')
    fc.assert(
      fc.property(
        anyPrices,
        anyCounts,
        fc.record({ served, startedAtMs: moment, region: place, speed, isAuto: fc.boolean() }),
        fc.tuple(fc.nat(3_000), fc.nat(3_000)),
        (prices, counts, { served: serviceTier, isAuto, ...facts }, [spareInput, spareOutput]) => {
          const promptTokens = inputTotal(counts)
          const rate = rateFor(prices, { promptTokens, serviceTier, ...facts })
          const quoted = quote(
            {
              inputTokens: promptTokens + spareInput,
              outputTokens: outputTotal(counts) + spareOutput,
              startedAtMs: facts.startedAtMs,
              serviceTier: isAuto ? 'auto' : serviceTier,
            },
            prices,
          )
          expect(quoted >= charge(withRequest(counts, rate), rate)).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
  })

  const prices = setOf({ input: 1_000_000n, output: 2_000_000n }, [
    { when: { fromTokens: 1_001 }, nanos: { input: 3_000_000n } },
    { when: { service: 'priority' }, nanos: { input: 5_000_000n } },
    { when: { service: 'flex' }, nanos: { input: 500_000n } },
    { when: { hours: { fromMinute: 960, toMinute: 1_080 } }, nanos: { output: 1_000_000n } },
  ])
  const quoted = (inputTokens: number, more: object = {}) =>
    quote({ inputTokens, outputTokens: 0, startedAtMs, ...more }, prices)

  test('takes a tier whose border the prompt may reach by the count of its vendor', () => {
    expect([quoted(909), quoted(910), quoted(1_001)]).toEqual([909n, 2_730n, 3_003n])
  })

  test('takes the dearer of the plain rate and the service tier that is asked for', () => {
    const tiers = [undefined, 'default', 'flex', 'priority', 'auto']
    expect(tiers.map((serviceTier) => quoted(100, { serviceTier }))).toEqual([100n, 100n, 100n, 500n, 500n])
  })

  test('knows when the call began, so that off-peak hours are cheap to hold for', () => {
    const output = (ms: number) => quote({ inputTokens: 0, outputTokens: 10, startedAtMs: ms }, prices)
    expect([output(startedAtMs), output(startedAtMs + 7_200_000)]).toEqual([10n, 20n])
  })

  test('counts audio at its own price only where it is sent or asked for', () => {
    const dear = setOf({ input: 1_000_000n, output: 1_000_000n, audio_input: 9_000_000n, audio_output: 8_000_000n })
    const call = { inputTokens: 1, outputTokens: 1, startedAtMs }
    expect([quote(call, dear), quote({ ...call, audio: true }, dear)]).toEqual([2n, 17n])
  })
})

test('what a reserved sum covers is quoted at no more than it, and one token more is above it', () => {
  fc.assert(
    fc.property(anyPrices, fc.nat(3_000), fc.bigInt({ min: 0n, max: 10n ** 15n }), (prices, inputTokens, reserved) => {
      const reach = { inputTokens, startedAtMs }
      const room = coveredOutput(reserved, reach, prices)
      if (room >= Number.MAX_SAFE_INTEGER) return
      const at = (outputTokens: number) => quote({ ...reach, outputTokens }, prices)
      if (at(0) <= reserved) expect([at(room) <= reserved, at(room + 1) > reserved]).toEqual([true, true])
      else expect(room).toBe(0)
    }),
  )
})

test('an answer that costs nothing is covered without end', () => {
  expect(coveredOutput(0n, { inputTokens: 0, startedAtMs }, setOf({ input: 1n, output: 0n }))).toBe(
    Number.POSITIVE_INFINITY,
  )
})

test('a call is one request where requests have a price', () => {
  const counts: Counts = { input: 1 }
  expect([withRequest(counts, setOf({ request: 5n })), withRequest(counts, setOf({}))]).toEqual([
    { input: 1, request: 1 },
    { input: 1 },
  ])
})

describe('a quote of pieces', () => {
  const prices = setOf({ image: 40n, output: 1_000_000n, request: 2n })

  test('is their price beside that of tokens and of the request', () => {
    const asked = { inputTokens: 5, outputTokens: 3, startedAtMs, pieces: { image: 4, second: 9 } }
    expect(quote(asked, prices)).toBe(4n * 40n + 3n + 2n)
    expect(coveredOutput(169n, asked, prices)).toBe(7)
  })
})
