import type { Attempt, Part, UsageRecord } from '../../src/core/call.ts'
import type { PriceSet } from '../../src/core/price.ts'

/** Monday noon: every record of the tests ends near it unless it says otherwise. */
export const noon = Date.UTC(2026, 2, 2, 12)

let made = 0

/** A UUIDv7 of its own, of the given moment. */
export function newId(ms = noon): string {
  const time = ms.toString(16).padStart(12, '0')
  const tail = (++made).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${tail.slice(0, 3)}-8000-${tail.padStart(12, '0')}`
}

export const prices: PriceSet = {
  id: 'USD:input=1000000000,output=2000000000;d=1000000',
  currency: 'USD',
  nanos: { input: 1_000_000_000n, output: 2_000_000_000n },
  discountPpm: 1_000_000,
}

export function attempt(over: Partial<Attempt> = {}): Attempt {
  return { vendor: 'openai', model: 'gpt-4o', startedAtMs: noon, endedAtMs: noon + 500, status: 200, ...over }
}

/** A settled call of 100 + 20 tokens that costs the sum of its parts. */
export function record(over: Partial<UsageRecord> & Pick<UsageRecord, 'accountId' | 'keyId'>): UsageRecord {
  const parts: readonly Part[] = over.parts ?? []
  const charge = parts.reduce((sum, part) => sum + part.amount, 0n)
  return {
    id: newId(over.startedAtMs ?? noon),
    kind: 'settle',
    outcome: 'complete',
    model: 'gpt-4o',
    vendor: 'openai',
    vendorModel: 'gpt-4o-2024-11-20',
    prices,
    usage: { counts: { input: 100, output: 20 }, source: 'vendor' },
    priced: charge,
    charge,
    attempts: [],
    stream: true,
    startedAtMs: noon,
    endedAtMs: noon + 1000,
    ...over,
    parts,
  }
}
