import { expect, test } from 'vitest'
import type { Caller } from '../../src/core/call.ts'
import { refusal, type Refused } from '../../src/ledger/refusal.ts'
import type { Platform, Purse, Shared } from '../../src/ports.ts'

const purse = (posted: bigint): Purse => ({
  id: 7,
  kind: 'wallet',
  asset: 'USD',
  models: [],
  expiresAtMs: undefined,
  posted,
})

/** The code of the error for a call that needs 100, where so much is available and held here. */
async function codeOf(here: { available: bigint; held: bigint }, purses: readonly Purse[]): Promise<string> {
  const refused = {
    reply: { code: 'funds', ...here },
    caller: { accountId: 1, currency: 'USD', chain: [] } as unknown as Caller,
    bill: { money: 100n },
    needs: [{ purse: 7, need: 100n }],
    purses,
    shared: {} as Shared,
  } as unknown as Refused
  const { code } = await refusal({ platform: {} as Platform }, refused)
  return code
}

test('credit that is lent to another spender is only held, and credit that is nowhere is missing', async () => {
  const nothing = { available: 0n, held: 0n }
  expect([
    await codeOf(nothing, [purse(100n)]),
    await codeOf(nothing, [purse(99n)]),
    await codeOf(nothing, []),
    await codeOf({ available: 0n, held: 100n }, []),
  ]).toEqual(['credit_held', 'insufficient_quota', 'insufficient_quota', 'credit_held'])
})
