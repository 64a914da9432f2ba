import fc from 'fast-check'
import type { BudgetWindow, KeyFacts, Part } from '../../src/core/call.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import { periodStart } from '../../src/core/period.ts'
import type { Command } from '../../src/ledger/engine/commands.ts'
import { sumMoney } from '../../src/ledger/engine/purses.ts'
import type { HoldRecord, Metered } from '../../src/ledger/engine/records.ts'
import { accountId, admitCommand, keyFacts, metered, usageRecord } from '../ledger/engine/sample.ts'
import type { Model } from './model.ts'

/** One step of a random history: a command, once it is known what stands, or something that happens around it. */
export type Step =
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'begin' }
  | { readonly do: 'claim' }
  | { readonly do: 'command'; readonly make: (model: Model) => Command | undefined }

/** 7 and 9 are wallets, 8 is a package of tokens. */
const purses = [7, 8, 9]
const keyIds = [5, 6, 11]
const id = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const windows: BudgetWindow[] = ['total', 'hour', 'day', 'week', 'month']
const window = fc.constantFrom(...windows)

/** Small numbers, so that limits are met; and those of which doubles can just tell one from the next. */
const amount = fc.oneof(fc.bigInt(0n, 60n), fc.bigInt(0n, 60n), fc.bigInt(1n, 9_000_000_000_000_000n))
const charged = fc.oneof(fc.bigInt(0n, 60n), fc.bigInt(0n, 60n), fc.bigInt(1n, 40_000_000_000_000n))
const estimate = fc.oneof(fc.bigInt(0n, 60n), fc.bigInt(1n, 1_000_000_000_000_000n))

/** Of a budget; loaded keys have often spent some of it. */
const limit = fc.oneof(fc.bigInt(0n, 200n), fc.bigInt(1n, 9_000_000_000_000_000n))

const command = <T>(values: fc.Arbitrary<T>, make: (values: T, model: Model) => Command | undefined) =>
  values.map((found): Step => ({ do: 'command', make: (model) => make(found, model) }))

const needs = fc
  .tuple(fc.shuffledSubarray(purses, { minLength: 0 }), fc.array(amount, { minLength: 3, maxLength: 3 }), fc.boolean())
  .map(([drawn, amounts, isOne]) =>
    drawn.map((purse, at) => ({
      purse,
      amount: amounts[isOne ? 0 : at] ?? 0n,
      ...(purse === 8 && { asset: tokenAsset }),
    })),
  )

/** Happens once in so many draws: most histories should get far. */
const seldom = (odds: number) => fc.integer({ min: 1, max: odds }).map((draw) => draw === 1)

const facts: fc.Arbitrary<KeyFacts> = fc
  .record(
    {
      version: seldom(15).map((isNewer) => (isNewer ? 2 : 1)),
      budgets: fc.array(fc.record({ window, limit }, { noNullPrototype: true }), { maxLength: 3 }),
      requestsPerMinute: fc.constantFrom(0, 1, 2, 6, 60, 600),
      concurrency: fc.constantFrom(0, 1, 2, 3, 4, 5),
    },
    { requiredKeys: ['version', 'budgets'], noNullPrototype: true },
  )
  .map((limits) => keyFacts(0, limits))
/** Limits on everything let hardly anything in. */
const chain = fc
  .tuple(
    fc.shuffledSubarray(keyIds),
    fc.array(fc.oneof(fc.constant(keyFacts(0)), fc.constant(keyFacts(0)), facts), { minLength: 3, maxLength: 3 }),
  )
  .map(([ids, limits]) => ids.map((keyId, at): KeyFacts => ({ ...(limits[at] ?? keyFacts(0)), id: keyId })))

const meters: fc.Arbitrary<Metered> = fc.record(
  {
    started: fc.boolean(),
    inputTokens: fc.integer({ min: 0, max: 20 }),
    outputTokens: fc.integer({ min: 0, max: 20 }),
    vendor: fc.constantFrom('acme', 'bolt', 'ü'),
    vendorModel: fc.constantFrom('large', 'small'),
    tokenizer: fc.constantFrom('o200k', 'cl100k'),
    serviceTier: fc.constantFrom('flex', 'priority'),
  },
  { requiredKeys: ['started', 'inputTokens', 'outputTokens', 'vendor', 'vendorModel'], noNullPrototype: true },
)

const paid: fc.Arbitrary<readonly Part[]> = fc.array(
  fc
    .record({ purse: fc.constantFrom(...purses), lease: fc.constantFrom(0, 70, 71, 72), amount: charged })
    .map((part) => ({
      ...part,
      lease: part.lease + part.purse,
      ...(part.purse === 8 && { asset: tokenAsset }),
    })),
  { maxLength: 4 },
)

const record = (parts: readonly Part[], callId: string) =>
  usageRecord(parts, { id: callId, priced: sumMoney(parts), charge: sumMoney(parts) })

/** A purse of a random history stands on one of two loans, so that parts often name one that stands, and often not. */
const creditOf = (...accountIds: readonly number[]) =>
  command(
    fc.record({
      id: fc.constantFrom(...accountIds),
      status: seldom(15).map((isStopped) => (isStopped ? 'stopped' : 'open')),
      listed: fc.oneof(fc.constant(purses), fc.shuffledSubarray(purses)),
      lent: fc.array(fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 3_000_000_000_000_000n)), {
        minLength: 3,
        maxLength: 3,
      }),
      lease: fc.constantFrom(70, 70, 70, 71),
      expiry: fc.constantFrom(undefined, undefined, 0, 30_000, 90_000_000),
      isLate: seldom(12),
    }),
    ({ id: ofAccount, status, listed, lent, lease, expiry, isLate }, model): Command => ({
      type: 'credit',
      accountId: ofAccount,
      epoch: model.epoch - (isLate ? 1 : 0),
      status,
      purses: listed.map((purse, at) => ({
        id: purse,
        lease: lease + purse,
        lent: lent[at] ?? 0n,
        ...(expiry !== undefined && { expiresAtMs: model.nowMs + expiry }),
      })),
    }),
  )

const loadKeyOf = (...ids: readonly number[]) =>
  command(
    fc.record({
      keyId: fc.constantFrom(...ids),
      status: seldom(20).map((isRevoked) => (isRevoked ? 'revoked' : 'active')),
      version: seldom(25).map((isNewer) => (isNewer ? 2 : 1)),
      counted: fc.oneof(
        { weight: 6, arbitrary: fc.constant(windows) },
        { weight: 1, arbitrary: fc.shuffledSubarray(windows) },
      ),
      spent: fc.oneof(fc.bigInt(0n, 40n), fc.bigInt(0n, 4_000_000_000_000_000n)),
      isPast: fc.boolean(),
    }),
    ({ keyId, status, version, counted, spent, isPast }, model): Command => ({
      type: 'load_key',
      accountId,
      key: {
        id: keyId,
        status,
        version,
        windows: counted.map((each) => ({
          window: each,
          period: periodStart(each, model.nowMs - (isPast ? 86_400_000 : 0)),
          spent,
        })),
      },
    }),
  )

const admit = command(
  fc.record({ id, chain, needs, estimate, metered: meters, isLate: seldom(15) }),
  ({ isLate, chain: keys, ...rest }, model) => admitCommand({ ...rest, keys, epoch: model.epoch - (isLate ? 1 : 0) }),
)

const extend = command(fc.record({ id, needs, estimate }), (values): Command => ({
  type: 'extend',
  accountId,
  ...values,
}))

const checkpoint = command(
  fc.record({ id, metered: meters, termMs: fc.constantFrom(1, 30_000) }),
  (values): Command => ({ type: 'checkpoint', accountId, ...values }),
)

/** Half of the charges are what the hold has set aside, by halves or whole; the others are of anything. */
const ending = command(
  fc.record({
    id,
    type: fc.constantFrom('settle', 'reap', 'void', 'finalise'),
    paid,
    half: fc.constantFrom(undefined, undefined, 0n, 1n, 2n, 3n),
    seen: fc.option(meters, { freq: 2, nil: undefined }),
    hasRecord: fc.boolean(),
    claimMs: fc.constantFrom(1, 10_000),
  }),
  ({ id: callId, type, paid: any, half, seen, hasRecord, claimMs }, model): Command => {
    const hold = model.holds.get(callId)
    const own = hold?.parts.map((part) => ({ ...part, amount: (part.amount * (half ?? 0n)) / 2n })) ?? []
    const affordable = own.every((part) => part.amount < 40_000_000_000_000n)
    const parts = half === undefined || !affordable ? any : own
    // The books often charge more than the record did.
    const took = half === undefined ? 0n : (hold?.record?.charge ?? 0n)
    if (type === 'finalise') return { type, id: callId, accountId, total: took + sumMoney(any) }
    const target = { id: callId, accountId, claimMs }
    if (type === 'void') return { type, ...target, ...(hasRecord && { record: record([], callId) }) }
    if (type === 'settle') return { type, ...target, record: record(parts, callId) }
    return { type, ...target, metered: seen ?? hold?.metered ?? metered, record: record(parts, callId) }
  },
)

const assertion = command(
  fc.record({
    id,
    metered: meters,
    paid,
    isEnded: fc.boolean(),
    budgetLimit: amount,
    termMs: fc.constantFrom(1, 30_000),
  }),
  ({ id: callId, metered: seen, paid: parts, isEnded, budgetLimit, termMs }, model): Command => {
    const found = model.old.get(callId) ?? model.holds.get(callId)
    const made: HoldRecord = {
      id: callId,
      state: 'held',
      facts: admitCommand({ keys: keyIds.map((keyId) => keyFacts(keyId)) }).facts,
      parts: parts.filter(
        (part, at) => part.amount > 0n && parts.findIndex(({ purse }) => purse === part.purse) === at,
      ),
      estimate: 5n,
      budgets: [{ keyId: 6, budgets: [{ window: 'day', limit: budgetLimit }] }],
      metered: seen,
      dueMs: model.nowMs,
    }
    const live = found ?? made
    const hold: HoldRecord =
      isEnded && live.state === 'held' ? { ...live, state: 'settled', record: record(parts, callId) } : live
    return { type: 'assert', id: callId, accountId, hold, termMs }
  },
)

/** A command that names another account than its hold's is a bug of the gateway: that account is stopped. */
const wrongAccount = (otherId: number) =>
  command(fc.record({ id, metered: meters }), ({ id: callId, metered: seen }, model): Command | undefined =>
    model.holds.has(callId)
      ? { type: 'checkpoint', id: callId, accountId: otherId, metered: seen, termMs: 1 }
      : undefined,
  )

const pass = fc
  .oneof(
    fc.constantFrom(-60_000, -1_000, -1, 1, 999, 10_000, 30_000, 60_000),
    fc.integer({ min: 0, max: 20_000 }),
    fc.integer({ min: 0, max: 40 * 86_400_000 }),
  )
  .map((ms): Step => ({ do: 'pass', ms }))

/** What a replica does for an account that is new to it: it borrows, and loads the keys. */
const loading: fc.Arbitrary<readonly Step[]> = fc.tuple(creditOf(accountId), ...keyIds.map((keyId) => loadKeyOf(keyId)))
const beginning = fc.tuple(fc.constant<Step>({ do: 'begin' }), loading).map(([begin, loads]) => [begin, ...loads])

/** Histories for one account; `otherId` is another account in the same cell. */
export function histories(otherId: number): fc.Arbitrary<readonly Step[]> {
  const stop = command(seldom(5), (isStopped) => (isStopped ? { type: 'stop', accountId } : undefined))
  const one = (weight: number, step: fc.Arbitrary<Step>) => ({ weight, arbitrary: step.map((each) => [each]) })
  const steps: fc.Arbitrary<readonly Step[]> = fc.oneof(
    one(20, admit),
    one(12, ending),
    one(8, extend),
    one(4, checkpoint),
    one(4, creditOf(accountId, accountId, otherId)),
    one(3, loadKeyOf(...keyIds)),
    one(4, pass),
    one(2, assertion),
    one(1, fc.constant({ do: 'claim' })),
    one(1, stop),
    one(1, wrongAccount(otherId)),
    { weight: 1, arbitrary: loading },
    { weight: 1, arbitrary: beginning },
  )
  return fc
    .tuple(fc.option(loading, { freq: 9 }), fc.array(steps, { minLength: 1, maxLength: 60, size: 'max' }))
    .map(([first, rest]) => [...(first ?? []), ...rest.flat()])
}
