import fc from 'fast-check'
import type { UsageRecord } from '../../src/core/call.ts'

/** One part of a charge: which of the payer's purses, on which of its leases (0 for none), and how much. */
export interface PartStep {
  readonly purse: number
  readonly lease: number
  readonly amount: bigint
}

export interface RecordStep {
  /** Which call of the history; the same one again is sent again, or ended in another way. */
  readonly call: number
  readonly kind: UsageRecord['kind']
  readonly key: number
  readonly parts: readonly PartStep[]
  readonly input: number
  readonly output: number
  readonly endedHours: number
  readonly attempts: readonly { readonly vendor: string; readonly cost: bigint; readonly currency: string }[]
}

/** What is done to the books. Numbers name what a history has of a kind, modulo how many it has by then. */
export type BooksStep =
  | { readonly do: 'pay'; readonly payer: number; readonly amount: bigint; readonly ref: number }
  | { readonly do: 'epoch' | 'close'; readonly spender: number }
  | {
      readonly do: 'lend'
      readonly purse: number
      readonly spender: number
      readonly isStale: boolean
      readonly want: bigint
      readonly target: bigint | undefined
    }
  | { readonly do: 'flush'; readonly records: readonly RecordStep[]; readonly isTwice: boolean }
  /** Sends once more what was flushed so many flushes ago. */
  | { readonly do: 'resend'; readonly ago: number }
  | {
      readonly do: 'refund'
      readonly call: number
      readonly amount: bigint | undefined
      readonly tokens: bigint | undefined
      readonly ref: number
    }
  | {
      readonly do: 'grant'
      readonly payer: number
      readonly kind: 'credit' | 'package'
      readonly amount: bigint
      readonly price: bigint
      readonly priority: number
      readonly days: number | undefined
      readonly ref: number
    }
  | { readonly do: 'quota'; readonly payer: number; readonly isTokens: boolean; readonly amount: bigint }
  | { readonly do: 'void'; readonly purse: number }
  | { readonly do: 'purses' | 'balance'; readonly payer: number }
  | { readonly do: 'spent'; readonly payer: number; readonly key: number; readonly hours: number }
  | { readonly do: 'pass'; readonly hours: number }
  | { readonly do: 'rollup' | 'end' }

/** Calls of a history. Few, so that records of one call meet. */
export const callCount = 6

const index = fc.nat(11)
const payer = fc.nat(1)
const spender = fc.nat(1)
const ref = fc.nat(3)
/** Small enough to meet the ends of purses, and now and then beyond what a double holds. */
const amount = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt({ min: 0n, max: 3_000n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 10n ** 17n }) },
)
const some = fc.bigInt({ min: 1n, max: 9_000n })

const part = fc.record({ purse: index, lease: index, amount })
const attempt = fc.record({
  vendor: fc.constantFrom('openai', 'azure'),
  cost: fc.oneof(fc.constant(0n), amount),
  currency: fc.constantFrom('USD', 'CNY'),
})
const recordStep: fc.Arbitrary<RecordStep> = fc.record({
  call: fc.nat(callCount - 1),
  kind: fc.oneof(
    { weight: 5, arbitrary: fc.constant<UsageRecord['kind']>('settle') },
    { weight: 4, arbitrary: fc.constant<UsageRecord['kind']>('reap') },
    { weight: 1, arbitrary: fc.constant<UsageRecord['kind']>('void') },
  ),
  key: fc.nat(1),
  parts: fc.array(part, { maxLength: 3 }),
  input: fc.oneof(fc.nat(500), fc.nat(2 ** 31 - 1)),
  output: fc.nat(500),
  endedHours: fc.integer({ min: -2, max: 2 }),
  attempts: fc.array(attempt, { maxLength: 2 }),
})

const steps: fc.Arbitrary<BooksStep> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('flush'),
      records: fc.array(recordStep, { minLength: 1, maxLength: 5 }),
      isTwice: fc.nat(3).map((one) => one === 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('lend'),
      purse: index,
      spender,
      isStale: fc.integer({ min: 0, max: 9 }).map((one) => one === 0),
      want: amount,
      target: fc.option(amount, { nil: undefined }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('refund'),
      call: fc.nat(callCount - 1),
      amount: fc.option(fc.bigInt({ min: 0n, max: 800n }), { nil: undefined, freq: 1 }),
      tokens: fc.option(fc.bigInt({ min: 0n, max: 800n }), { nil: undefined, freq: 1 }),
      ref,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('grant'),
      payer,
      kind: fc.constantFrom('credit', 'package', 'package'),
      amount: some,
      price: fc.oneof(fc.constant(0n), fc.bigInt({ min: 1n, max: 10n ** 12n })),
      priority: fc.constantFrom(0, 50, 50),
      days: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      ref,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pay'), payer, amount, ref }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('epoch', 'close'), spender }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resend'), ago: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('quota'), payer, isTokens: fc.boolean(), amount: some }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('void'), purse: index }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('purses', 'purses', 'balance'), payer }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('spent'), payer, key: fc.nat(1), hours: fc.integer({ min: -2, max: 2 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass'), hours: fc.constantFrom(1, 12, 24, 36) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('rollup', 'end') }) },
)

/** Something to spend from: most histories begin with it. */
const beginning: readonly BooksStep[] = [
  { do: 'pay', payer: 0, amount: 20_000n, ref: 4 },
  { do: 'pay', payer: 1, amount: 5_000n, ref: 5 },
  { do: 'epoch', spender: 0 },
  { do: 'lend', purse: 0, spender: 0, isStale: false, want: 500n, target: 3_000n },
]

/** Histories of two accounts with two spenders. */
export const booksHistories: fc.Arbitrary<readonly BooksStep[]> = fc
  .tuple(fc.option(fc.constant(beginning), { freq: 9 }), fc.array(steps, { minLength: 1, maxLength: 14, size: 'max' }))
  .map(([first, rest]) => [...(first ?? []), ...rest])
