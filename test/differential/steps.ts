import fc from 'fast-check'
import type { BudgetWindow, KeyFacts, Part } from '../../src/core/call.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import { periodStart } from '../../src/core/period.ts'
import {
  limitAlgorithms,
  limitedThings,
  limitWindows,
  type LimitWindow,
  mostLimit,
  type RateLimit,
} from '../../src/core/rate-limit.ts'
import type { Command } from '../../src/ledger/engine/commands.ts'
import { merge, sumMoney } from '../../src/ledger/engine/purses.ts'
import type { HoldRecord, KeyBudgets, Metered } from '../../src/ledger/engine/records.ts'
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
/** The last are the counters of the account. */
const keyIds = [5, 6, 11, -accountId]
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

const limits: fc.Arbitrary<readonly RateLimit[]> = fc.uniqueArray(
  fc.record(
    {
      of: fc.constantFrom(...limitedThings),
      window: fc.constantFrom(...(Object.keys(limitWindows) as LimitWindow[])),
      algorithm: fc.constantFrom(...limitAlgorithms),
      limit: fc.oneof(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.integer({ min: 1, max: mostLimit }),
      ),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 4, selector: ({ of, window, algorithm }) => `${of} ${window} ${algorithm}` },
)
const tokens = fc.oneof(
  fc.constant(undefined),
  fc.integer({ min: 0, max: 30 }),
  fc.integer({ min: 0, max: 50_000 }),
  fc.integer({ min: 0, max: mostLimit }),
)

const facts: fc.Arbitrary<KeyFacts> = fc
  .record(
    {
      version: seldom(15).map((isNewer) => (isNewer ? 2 : 1)),
      budgets: fc.array(fc.record({ window, limit }, { noNullPrototype: true }), { maxLength: 3 }),
      requestsPerMinute: fc.constantFrom(0, 1, 2, 6, 60, 600),
      concurrency: fc.constantFrom(0, 1, 2, 3, 4, 5),
      limits,
    },
    { requiredKeys: ['version', 'budgets'], noNullPrototype: true },
  )
  .map((limits) => keyFacts(0, limits))
/** Limits on everything let hardly anything in. */
const chain = fc
  .tuple(
    fc.shuffledSubarray(keyIds),
    fc.array(fc.oneof(fc.constant(keyFacts(0)), fc.constant(keyFacts(0)), facts), { minLength: 4, maxLength: 4 }),
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
  usageRecord(parts, {
    id: callId,
    priced: sumMoney(parts),
    charge: sumMoney(parts),
    usage: { counts: { input: Number(sumMoney(parts) % 100_000n), output: parts.length }, source: 'vendor' },
  })

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
  fc.record({ id, chain, needs, estimate, tokens, metered: meters, isLate: seldom(15) }),
  ({ isLate, chain: keys, tokens: reserved, ...rest }, model) =>
    admitCommand({
      ...rest,
      keys,
      epoch: model.epoch - (isLate ? 1 : 0),
      ...(reserved !== undefined && { tokens: reserved }),
    }),
)

const extendOf = (ids: fc.Arbitrary<string>) =>
  command(fc.record({ id: ids, needs, estimate }), (values): Command => ({ type: 'extend', accountId, ...values }))

const checkpointOf = (ids: fc.Arbitrary<string>) =>
  command(fc.record({ id: ids, metered: meters, termMs: fc.constantFrom(1, 30_000) }), (values): Command => ({
    type: 'checkpoint',
    accountId,
    ...values,
  }))

interface Ending {
  readonly id: string
  readonly type: 'settle' | 'reap' | 'void' | 'finalise'
  readonly paid: readonly Part[]
  readonly half: bigint | undefined
  readonly seen: Metered | undefined
  readonly hasRecord: boolean
  readonly claimMs: number
}

/** Half of the charges are what the hold has set aside, by halves or whole; the others are of anything. */
const endingOf = (ids: fc.Arbitrary<string>) =>
  command(
    fc.record({
      id: ids,
      type: fc.constantFrom<Ending['type'][]>('settle', 'reap', 'void', 'finalise'),
      paid,
      half: fc.constantFrom(undefined, undefined, 0n, 1n, 2n, 3n),
      seen: fc.option(meters, { freq: 2, nil: undefined }),
      hasRecord: fc.boolean(),
      claimMs: fc.constantFrom(1, 10_000),
    }),
    ended,
  )

function ended({ id: callId, type, paid: any, half, seen, hasRecord, claimMs }: Ending, model: Model): Command {
  const hold = model.holds.get(callId)
  const whole = hold?.parts.map((part) => ({ ...part, amount: (part.amount * (half ?? 0n)) / 2n })) ?? []
  const affordable = whole.every((part) => part.amount < 40_000_000_000_000n)
  const parts = half === undefined || !affordable ? any : whole
  // The books often charge more than the record did.
  const took = half === undefined ? 0n : (hold?.record?.charge ?? 0n)
  if (type === 'finalise') return { type, id: callId, accountId, total: took + sumMoney(any) }
  const target = { id: callId, accountId, claimMs }
  if (type === 'void') return { type, ...target, ...(hasRecord && { record: record([], callId) }) }
  if (type === 'settle') return { type, ...target, record: record(parts, callId) }
  return { type, ...target, metered: seen ?? hold?.metered ?? metered, record: record(parts, callId) }
}

interface Assertion {
  readonly id: string
  readonly metered: Metered
  readonly paid: readonly Part[]
  readonly isEnded: boolean
  readonly isFurther: boolean
  readonly budgets: readonly KeyBudgets[]
  readonly termMs: number
}

const assertionOf = (ids: fc.Arbitrary<string>) =>
  command(
    fc.record({
      id: ids,
      metered: meters,
      paid,
      isEnded: seldom(3),
      isFurther: fc.boolean(),
      budgets: fc
        .tuple(
          fc.shuffledSubarray(keyIds),
          fc.array(fc.record({ window, limit }, { noNullPrototype: true }), { minLength: 1, maxLength: 2 }),
        )
        .map(([ids, each]) => ids.map((keyId) => ({ keyId, budgets: each }))),
      termMs: fc.constantFrom(1, 30_000),
    }),
    asserted,
  )

/** A replica asserts what it has of a hold, of this epoch or an older one; often it has drawn on it elsewhere since. */
function asserted(
  { id: callId, metered: seen, paid: parts, isEnded, isFurther, budgets, termMs }: Assertion,
  model: Model,
): Command {
  const made: HoldRecord = {
    id: callId,
    state: 'held',
    facts: admitCommand({ keys: keyIds.map((keyId) => keyFacts(keyId)) }).facts,
    parts: merge(parts, []).filter((part) => part.amount > 0n),
    estimate: 5n,
    ...(budgets.length > 0 && { budgets: inOrder(budgets) }),
    metered: seen,
    dueMs: model.nowMs,
  }
  const found = model.old.get(callId) ?? model.holds.get(callId)
  const live = found && isFurther ? served(found, made.parts) : (found ?? made)
  const hold: HoldRecord =
    isEnded && live.state === 'held' ? { ...live, state: 'settled', record: record(parts, callId) } : live
  return { type: 'assert', id: callId, accountId, hold, termMs }
}

/** The budgets of a hold stand in the order of its keys. */
const inOrder = (budgets: readonly KeyBudgets[]) =>
  keyIds.flatMap((keyId) => budgets.filter((ofKey) => ofKey.keyId === keyId))

/** A hold as a replica has it that has drawn more elsewhere, and has not heard of its end. */
function served({ record: _, ...hold }: HoldRecord, drawn: readonly Part[]): HoldRecord {
  const parts = merge(hold.parts, drawn).filter((part) => part.amount < 40_000_000_000_000n)
  return { ...hold, state: 'held', parts, own: drawn }
}

/** A call that goes on after its store was lost, or that moved here from another: it is asserted, grows, and ends. */
const moving: fc.Arbitrary<readonly Step[]> = id.chain((callId) => {
  const its = fc.constant(callId)
  const between = fc.oneof(extendOf(its), extendOf(its), checkpointOf(its), assertionOf(its), creditOf(accountId))
  return fc
    .tuple(
      assertionOf(its),
      fc.array(between, { minLength: 1, maxLength: 5 }),
      fc.array(endingOf(its), { maxLength: 2 }),
    )
    .map(([first, during, last]) => [first, ...during, ...last])
})

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

/** Calls that nothing but time limits: the same few limits over and over, and little time in between. */
const rationed: fc.Arbitrary<readonly Step[]> = fc
  .tuple(fc.shuffledSubarray([5, -accountId], { minLength: 1 }), fc.array(limits, { minLength: 2, maxLength: 2 }))
  .chain(([ids, ofKeys]) => {
    const keys = ids.map((keyId, at) => keyFacts(keyId, { limits: ofKeys[at] ?? [] }))
    const one = command(fc.record({ id, tokens }), ({ id: callId, tokens: reserved }, model) =>
      admitCommand({ id: callId, keys, needs: [], estimate: 0n, epoch: model.epoch, tokens: reserved ?? 7 }),
    )
    return fc.array(fc.oneof(one, one, one, endingOf(id), endingOf(id), pass), { minLength: 4, maxLength: 24 })
  })

/** What a replica does for an account that is new to it: it borrows, and loads the keys. */
const loading: fc.Arbitrary<readonly Step[]> = fc.tuple(creditOf(accountId), ...keyIds.map((keyId) => loadKeyOf(keyId)))
const beginning = fc.tuple(fc.constant<Step>({ do: 'begin' }), loading).map(([begin, loads]) => [begin, ...loads])

/** Histories for one account; `otherId` is another account in the same cell. */
export function histories(otherId: number): fc.Arbitrary<readonly Step[]> {
  const stop = command(seldom(5), (isStopped) => (isStopped ? { type: 'stop', accountId } : undefined))
  const one = (weight: number, step: fc.Arbitrary<Step>) => ({ weight, arbitrary: step.map((each) => [each]) })
  const steps: fc.Arbitrary<readonly Step[]> = fc.oneof(
    one(20, admit),
    one(12, endingOf(id)),
    one(8, extendOf(id)),
    one(4, checkpointOf(id)),
    one(4, creditOf(accountId, accountId, otherId)),
    one(3, loadKeyOf(...keyIds)),
    one(4, pass),
    one(2, assertionOf(id)),
    { weight: 3, arbitrary: moving },
    { weight: 3, arbitrary: rationed },
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
