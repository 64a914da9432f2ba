import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/ledger/engine/commands.ts'
import type { RateLimit } from '../../src/core/rate-limit.ts'
import { openLender } from '../../src/core/shared-limit.ts'
import { openSlotLender } from '../../src/core/shared-slots.ts'
import type { Clock, Shared } from '../../src/ports.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  assertCommand,
  elsewhere,
  extendCommand,
  finaliseCommand,
  keyFacts,
  keyRecord,
  machine,
  metered,
  noon,
  reapCommand,
  settleCommand,
  voidCommand,
  wallet,
} from '../ledger/engine/sample.ts'
import { testClock, type TestClock } from './test-clock.ts'

export interface Opened {
  readonly shared: Shared
  close(): Promise<void>
}

const credit: Command = {
  type: 'credit',
  accountId,
  epoch: 1,
  status: 'open',
  purses: [{ id: 7, lease: 70, lent: 1_000n }],
}
const loadKey = (id: number): Command => ({
  type: 'load_key',
  accountId,
  key: { id, status: 'active', version: 1, windows: [{ window: 'total', period: 0, spent: 0n }] },
})
const checkpoint: Command = {
  type: 'checkpoint',
  id: 'call',
  accountId,
  metered: { ...metered, outputTokens: 2 },
  termMs: 30_000,
}

/** What every store of the engine's records must do, whatever it is made of. `open` gives an empty one. */
export function sharedContract(name: string, open: (clock: Clock) => Promise<Opened>): void {
  async function withStore(use: (shared: Shared, clock: TestClock) => Promise<void>): Promise<void> {
    const clock = testClock(noon)
    const { shared, close } = await open(clock)
    try {
      await use(shared, clock)
    } finally {
      await close()
    }
  }
  const withLoaded = (use: (shared: Shared, clock: TestClock) => Promise<void>) =>
    withStore(async (shared, clock) => {
      await shared.run(credit)
      await shared.run(loadKey(5))
      await use(shared, clock)
    })

  describe(`${name} as shared records`, () => {
    test('an empty store asks for everything', () =>
      withStore(async (shared) => {
        expect(await shared.run(admitCommand())).toEqual({ code: 'load', account: true, keys: [5] })
        expect([await shared.account(accountId), await shared.key(accountId, 5)]).toEqual([undefined, undefined])
      }))

    test('a call that is let in shows at the account and at the key', () =>
      withLoaded(async (shared) => {
        expect(await shared.run(admitCommand())).toEqual({ code: 'ok', parts: [wallet(40n)], available: 960n })
        const purses = [{ id: 7, lease: 70, lent: 1_000n, available: 960n, held: 40n }]
        expect(await shared.account(accountId)).toEqual(accountRecord(0n, { purses }))
        const windows = [{ window: 'total', period: 0, spent: 0n }] as const
        expect(await shared.key(accountId, 5)).toEqual(keyRecord(5, { inFlight: 1, held: 40n, windows }))
      }))

    test('a hold is claimed at its deadline and not before', () =>
      withLoaded(async (shared, clock) => {
        await shared.run(admitCommand())
        clock.pass(29_999)
        expect(await shared.claim(10, 10_000)).toEqual({ code: 'ok', holds: [] })
        clock.pass(1)
        expect(await shared.claim(10, 10_000)).toMatchObject({ holds: [{ id: 'call', state: 'held', metered }] })
      }))

    test('a claimed hold is hidden from others for a while', () =>
      withLoaded(async (shared, clock) => {
        await shared.run(admitCommand())
        clock.pass(30_000)
        await shared.claim(10, 10_000)
        clock.pass(9_999)
        expect(await shared.claim(10, 10_000)).toMatchObject({ holds: [] })
        clock.pass(1)
        expect(await shared.claim(10, 10_000)).toMatchObject({ holds: [{ id: 'call' }] })
      }))

    test('a checkpoint moves the deadline', () =>
      withLoaded(async (shared, clock) => {
        await shared.run(admitCommand())
        clock.pass(20_000)
        await shared.run(checkpoint)
        clock.pass(29_999)
        expect(await shared.claim(10, 10_000)).toMatchObject({ holds: [] })
        clock.pass(1)
        expect(await shared.claim(10, 10_000)).toMatchObject({ holds: [{ metered: { outputTokens: 2 } }] })
      }))

    test('a settled hold comes back with its record until it is final', () =>
      withLoaded(async (shared, clock) => {
        await shared.run(admitCommand())
        const command = settleCommand([wallet(30n)])
        await shared.run(command)
        clock.pass(10_000)
        expect(await shared.claim(10, 10_000)).toMatchObject({ holds: [{ state: 'settled', record: command.record }] })
        await shared.run(finaliseCommand(30n))
        clock.pass(10_000)
        expect(await shared.claim(10, 10_000)).toEqual({ code: 'ok', holds: [] })
      }))

    test('claims come in the order of their deadlines, no more than were asked for', () =>
      withLoaded(async (shared, clock) => {
        for (const [id, termMs] of [
          ['c', 3_000],
          ['a', 1_000],
          ['b', 2_000],
        ] as const)
          await shared.run(admitCommand({ id, termMs }))
        clock.pass(5_000)
        expect((await shared.claim(2, 10_000)).holds.map(({ id }) => id)).toEqual(['a', 'b'])
        expect((await shared.claim(2, 10_000)).holds.map(({ id }) => id)).toEqual(['c'])
      }))

    test('calls at the same time get no more than there is', () =>
      withLoaded(async (shared) => {
        const calls = Array.from({ length: 40 }, (_, index) => shared.run(admitCommand({ id: `${index}` })))
        const codes = (await Promise.all(calls)).map(({ code }) => code)
        expect(codes.filter((code) => code === 'ok')).toHaveLength(25)
        expect(codes.filter((code) => code === 'funds')).toHaveLength(15)
      }))

    test('one hold ends once, whoever comes first', () =>
      withLoaded(async (shared) => {
        await shared.run(admitCommand())
        const ends = [
          settleCommand([wallet(30n)]),
          voidCommand(),
          reapCommand([wallet(10n)]),
          settleCommand([wallet(5n)]),
        ]
        const replies = await Promise.all(ends.map((command) => shared.run(command)))
        expect(replies.filter(({ code }) => code === 'ok')).toHaveLength(1)
        expect(replies.filter(({ code }) => code === 'duplicate')).toHaveLength(3)
      }))

    test('what is read is a record of its own: nothing later changes it', () =>
      withLoaded(async (shared) => {
        const before = await shared.account(accountId)
        const copy = structuredClone(before)
        await shared.run(admitCommand())
        expect(before).toEqual(copy)
      }))

    const balance = async (shared: Shared) => {
      const purse = (await shared.account(accountId))?.purses[0]
      return [purse?.available, purse?.held]
    }
    const grown = (use: (shared: Shared) => Promise<void>) =>
      withLoaded(async (shared) => {
        await shared.run(assertCommand())
        await shared.run(extendCommand(25n))
        await use(shared)
      })

    test('a hold that was asserted grows on the loans that stand, and counts nothing at its keys', () =>
      grown(async (shared) => {
        const parts = [elsewhere(40n), wallet(30n)]
        expect(await shared.run(extendCommand(5n))).toEqual({ code: 'ok', parts })
        expect(await balance(shared)).toEqual([970n, 30n])
        expect(await shared.key(accountId, 5)).toMatchObject({ inFlight: 0, held: 0n })
      }))

    test.each([
      ['settled', settleCommand([elsewhere(40n), wallet(20n)]), 980n, 60n],
      ['reaped', reapCommand([elsewhere(40n), wallet(20n)]), 980n, 60n],
      ['voided', voidCommand(), 1_000n, 0n],
      ['made final', finaliseCommand(60n), 980n, 60n],
    ] as const)('when it is %s what it drew here is back, and its charge counts', (_, end, available, spent) =>
      grown(async (shared) => {
        expect(await shared.run<Command>(end)).toMatchObject({ code: 'ok' })
        expect(await balance(shared)).toEqual([available, 0n])
        expect(await shared.key(accountId, 5)).toMatchObject({ inFlight: 0, held: 0n, windows: [{ spent }] })
      }),
    )

    test('a hold that was asserted hears that there is nothing until its account is loaded', () =>
      withStore(async (shared) => {
        await shared.run(assertCommand())
        expect(await shared.run(extendCommand(25n))).toEqual({ code: 'funds', available: 0n })
        await shared.run(credit)
        expect(await shared.run(extendCommand(25n))).toEqual({ code: 'ok', parts: [elsewhere(40n), wallet(25n)] })
        expect(await shared.run(voidCommand())).toMatchObject({ code: 'ok' })
        expect(await balance(shared)).toEqual([1_000n, 0n])
      }))

    test('a hold that was asserted is held to the budgets of keys that are loaded', () =>
      withLoaded(async (shared) => {
        const budgets = [5, 6].map((keyId) => ({ keyId, budgets: [{ window: 'total', limit: 60n } as const] }))
        const { facts } = admitCommand({ keys: [keyFacts(5), keyFacts(6)] })
        await shared.run(assertCommand({ facts, budgets }))
        expect(await shared.run(extendCommand(21n))).toEqual({ code: 'limit', what: 'budget', keyId: 5 })
        expect(await shared.run(extendCommand(20n))).toMatchObject({ code: 'ok' })
      }))

    test('an assertion that comes after its hold was dropped gives back nothing at its end', () =>
      withLoaded(async (shared) => {
        await shared.run(admitCommand())
        await shared.run(settleCommand([wallet(30n)]))
        await shared.run(finaliseCommand(30n))
        await shared.run(admitCommand({ id: 'other' }))
        await shared.run(assertCommand({ parts: [wallet(40n)] }))
        expect(await shared.run(voidCommand())).toEqual({ code: 'ok', overflow: 0n })
        expect(await balance(shared)).toEqual([930n, 40n])
      }))

    test('a part that was drawn in another store touches no balance when it is charged', () =>
      withLoaded(async (shared) => {
        await shared.run(admitCommand())
        expect(await shared.run(settleCommand([wallet(30n), elsewhere(20n)]))).toEqual({ code: 'ok', overflow: 20n })
        expect(await balance(shared)).toEqual([970n, 0n])
      }))

    test('a hold that is there learns of parts that were drawn elsewhere, and does not give them back', () =>
      withLoaded(async (shared) => {
        await shared.run(admitCommand())
        await shared.run(assertCommand({ parts: [elsewhere(15n), wallet(40n)] }))
        const parts = [wallet(50n), elsewhere(15n)]
        expect(await shared.run(extendCommand(10n))).toEqual({ code: 'ok', parts })
        expect(await balance(shared)).toEqual([950n, 50n])
        await shared.run(voidCommand())
        expect(await balance(shared)).toEqual([1_000n, 0n])
      }))

    test('a claimed hold says what of it is set aside here', () =>
      withLoaded(async (shared, clock) => {
        await shared.run(assertCommand())
        await shared.run(extendCommand(25n))
        clock.pass(30_000)
        const parts = [elsewhere(40n), wallet(25n)]
        const { holds } = await shared.claim(10, 10_000)
        expect(holds).toMatchObject([{ id: 'call', recovered: true, parts, own: [wallet(25n)] }])
      }))

    test('counts a call by its tokens once it has ended', () =>
      withLoaded(async (shared) => {
        const keys = [keyFacts(5, { limits: timed.slice(2, 3) })]
        const admitted = await shared.run(admitCommand({ keys, tokens: 80 }))
        expect(admitted).toMatchObject({ code: 'ok', tokens: { limit: 90, remaining: 10, resetMs: 53_334 } })
        await shared.run(settleCommand([wallet(40n)]))
        const [limit] = timed.slice(2, 3)
        expect((await shared.key(accountId, 5))?.meters).toEqual([{ ...limit, used: 15, rest: 0, atMs: noon }])
      }))

    test('lends any list of shares as the rules say', () =>
      fc.assert(
        fc.asyncProperty(fc.array(anyAsk, { maxLength: 30 }), async (asks) => {
          await withStore(async (shared, clock) => {
            const lender = openLender()
            for (const { passMs, ...ask } of asks) {
              clock.pass(passMs)
              expect(await shared.shares([ask])).toEqual([lender.lend(ask, clock.now())])
            }
          })
        }),
        { numRuns: 60 },
      ))

    test('lends any list of slots as the rules say', () =>
      fc.assert(
        fc.asyncProperty(fc.array(anySlots, { maxLength: 40 }), async (asks) => {
          await withStore(async (shared, clock) => {
            const lender = openSlotLender()
            for (const { passMs, ...ask } of asks) {
              clock.pass(passMs)
              expect(await shared.slots([ask])).toEqual([lender.lend(ask, clock.now())])
            }
          })
        }),
        { numRuns: 60 },
      ))

    test('answers any list of commands as the engine does', () =>
      fc.assert(
        fc.asyncProperty(fc.array(anyCommand, { maxLength: 30 }), (commands) => compare(commands)),
        { numRuns: 60 },
      ))
  })

  async function compare(commands: readonly (Command | number)[]): Promise<void> {
    await withStore(async (shared, clock) => {
      const model = machine()
      for (const command of commands) {
        if (typeof command === 'number') {
          clock.pass(command)
          model.nowMs += command
        } else expect(await shared.run(command)).toEqual(model.run(command))
      }
      expect(await shared.account(accountId)).toEqual(model.account)
      for (const id of [5, 6]) expect(await shared.key(accountId, id)).toEqual(model.keys.get(id))
    })
  }
}

const anyAsk = fc.record({
  id: fc.constantFrom('global', 'model/large'),
  limit: fc.constantFrom<RateLimit[]>(
    { of: 'requests', window: 'second', algorithm: 'token_bucket', limit: 20 },
    { of: 'requests', window: 'minute', algorithm: 'sliding_window', limit: 20 },
    { of: 'tokens', window: 'minute', algorithm: 'leaky_bucket', limit: 70_000 },
  ),
  replica: fc.constantFrom('r1', 'r2', 'r3'),
  want: fc.oneof(fc.nat(12), fc.nat(50_000)),
  back: fc.constantFrom(0, 0, 3, 400),
  least: fc.constantFrom(1, 1, 18, 5_000),
  passMs: fc.constantFrom(0, 7, 900, 3_100, 40_000),
})

const anySlots = fc.record({
  id: fc.constantFrom('global//concurrency', 'model/large/concurrency'),
  limit: fc.constantFrom(1, 2, 10, 31),
  replica: fc.constantFrom('r1', 'r2', 'r3', 'r4'),
  held: fc.oneof(fc.constant(0), fc.nat(12)),
  want: fc.oneof(fc.constant(0), fc.nat(40)),
  passMs: fc.constantFrom(0, 7, 900, 4_999, 5_000, 40_000),
})

const id = fc.constantFrom('a', 'b', 'c')
const timed: readonly RateLimit[] = [
  { of: 'requests', window: 'second', algorithm: 'leaky_bucket', limit: 30 },
  { of: 'requests', window: 'hour', algorithm: 'sliding_window', limit: 7 },
  { of: 'tokens', window: 'minute', algorithm: 'token_bucket', limit: 90 },
  { of: 'tokens', window: 'minute', algorithm: 'sliding_window', limit: 100 },
]
const limited = { requestsPerMinute: 6, concurrency: 2, budgets: [{ limit: 200n, window: 'total' as const }] }
/** Charges of up to 60 against holds of 40 or less, so that some overflow. */
const anyCommand: fc.Arbitrary<Command | number> = fc.oneof(
  fc.constantFrom(credit, loadKey(5), loadKey(6), 500, 20_000),
  fc.record({ id, amount: fc.bigInt(0n, 40n), limits: fc.boolean() }).map(({ id, amount, limits }) => {
    const keys = [keyFacts(5, limits ? limited : {}), keyFacts(6)]
    return admitCommand({ id, keys, estimate: amount, needs: [{ purse: 7, amount }] })
  }),
  fc.record({ id, tokens: fc.nat(60), limits: fc.subarray([...timed]) }).map(({ id, tokens, limits }) => {
    const keys = [keyFacts(5, { limits: timed }), keyFacts(6, { limits })]
    return admitCommand({ id, keys, estimate: 0n, needs: [], tokens })
  }),
  fc.record({ id, amount: fc.bigInt(0n, 400n) }).map(({ id, amount }): Command => ({
    type: 'extend',
    id,
    accountId,
    estimate: amount,
    needs: [{ purse: 7, amount }],
  })),
  fc.record({ id, amount: fc.bigInt(0n, 60n) }).map(({ id, amount }) => settleCommand([wallet(amount)], id)),
  fc.record({ id, amount: fc.bigInt(0n, 60n) }).map(({ id, amount }) => reapCommand([wallet(amount)], metered, id)),
  fc.record({ id, amount: fc.bigInt(0n, 60n) }).map(({ id, amount }) => finaliseCommand(amount, id)),
  id.map((id) => voidCommand(id)),
  id.map((id): Command => ({ ...checkpoint, id }) as Command),
  fc
    .record({ id, here: fc.bigInt(0n, 40n), there: fc.bigInt(1n, 40n) })
    .map(({ id, here, there }) =>
      assertCommand({ id, parts: [elsewhere(there), ...(here > 0n ? [wallet(here)] : [])] }),
    ),
)
