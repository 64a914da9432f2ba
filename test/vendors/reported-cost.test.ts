import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { openaiCompatible } from '../../src/vendors/openai.ts'
import { reportedCost } from '../../src/vendors/reported-cost.ts'
import { root } from '../source.ts'
import { event, piecesOf, passing } from './streams.ts'

describe('a reported cost', () => {
  test.each([
    [{ cost_in_usd_ticks: 5_596_400 }, 559_640n],
    [{ cost_in_usd_ticks: 1 }, 1n],
    [{ cost_in_usd_ticks: 0 }, 0n],
    [{ cost: 0.00019875 }, 198_750n],
    [{ cost: 1e-10 }, 1n],
    [{ cost: 0 }, 0n],
    [{ cost: { total_cost: 0.00503, request_cost: 0.005 } }, 5_030_000n],
    [{ cost: 1_000_000 }, 1_000_000_000_000_000n],
  ])('%j is read', (usage, nanos) => {
    expect(reportedCost(usage)).toBe(nanos)
  })

  test.each<JsonObject>([
    {},
    { cost: null },
    { cost: '0.1' },
    { cost: -0.1 },
    { cost: 1_000_001 },
    { cost: {} },
    { cost_in_usd_ticks: 1.5 },
    { cost_in_usd_ticks: -1 },
    { cost_in_usd_ticks: 1e17 },
  ])('%j is none', (usage) => {
    expect(reportedCost(usage)).toBeUndefined()
  })

  test('stays known when a later usage of the stream says nothing of it', () => {
    const read = openaiCompatible({ id: 'any' }).reader(passing)
    read(event({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, cost: 0.5 } }))
    const last = read(event({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 } }))
    expect(last.usage?.reportedCost).toBe(500_000_000n)
  })
})

const folder = join(root, '../shared/fixtures')
const isThere = existsSync(folder)
if (!isThere) process.stdout.write('skipped: there are no recorded calls beside this repository\n')

interface Recorded {
  readonly kind: string
  readonly streaming: boolean
  readonly status: number
  readonly response_file: string
  readonly vendor_reported_cost_usd?: number
}

/** What the adapter reads, and what whoever recorded the call has written down of it, in nano-USD rounded up. */
function costs(vendor: string): readonly (readonly [string, bigint | undefined, bigint])[] {
  const manifest = JSON.parse(readFileSync(join(folder, vendor, 'manifest.json'), 'utf8')) as {
    entries: readonly Recorded[]
  }
  const adapter = openaiCompatible({ id: vendor })
  return manifest.entries.flatMap(
    ({ kind, status, streaming, response_file: file, vendor_reported_cost_usd: dollars }) => {
      if (kind !== 'chat' || status !== 200 || dollars === undefined) return []
      const bytes = new Uint8Array(readFileSync(join(folder, vendor, file)))
      const usage = streaming
        ? piecesOf(adapter, bytes).findLast((piece) => piece.usage)?.usage
        : adapter.reply(JSON.parse(new TextDecoder().decode(bytes)) as JsonObject, passing).usage
      return [[file, usage?.reportedCost, BigInt(Math.ceil(Number((dollars * 1e9).toFixed(1))))] as const]
    },
  )
}

describe.skipIf(!isThere)('the cost that a recorded answer tells is read', () => {
  test.each([
    ['xai', 11],
    ['openrouter', 42],
    ['perplexity', 2],
    ['vercel-gateway', 17],
  ])('of %s', (vendor, count) => {
    const all = costs(vendor)
    expect(all.filter(([, read, written]) => read !== written)).toEqual([])
    expect(all.length).toBe(count)
  })
})
