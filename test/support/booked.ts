import { vi } from 'vitest'
import { parseMoney } from '../../src/core/money.ts'
import type { TestAccount, TestGateway } from './gateway.ts'

/** What the books say of one call and of its account after it; money in nano-USD. */
export interface Booked {
  readonly outcome: unknown
  readonly counts: unknown
  /** Where the counts came from. */
  readonly source: unknown
  readonly cost: bigint
  /** Vendor and status of each try, and what failed it: `fake 500 vendor_error`. */
  readonly attempts: readonly string[]
  readonly account: Standing
}

/** An account as its master key sees it. */
export interface Standing {
  readonly balance: bigint
  readonly held: bigint
  readonly inFlight: unknown
}

interface Attempted {
  readonly vendor: string
  readonly status: number
  readonly error?: string | null
}

/** One call as `/v1/generation` tells it, and its account as `/v1/credits` and `/v1/key` do. */
export async function booked(
  gateway: TestGateway,
  account: TestAccount,
  id: string | null | undefined,
): Promise<Booked> {
  const receipt = await gateway.get(`/v1/generation?id=${id}`, account.key)
  const attempts = receipt['attempts'] as readonly Attempted[]
  return {
    outcome: receipt['outcome'],
    counts: (receipt['usage'] as Record<string, unknown>)['counts'],
    source: receipt['usage_source'],
    cost: moneyOf(receipt['cost']),
    attempts: attempts.map(({ vendor, status, error }) =>
      [vendor, status, error].filter((part) => part !== null && part !== undefined).join(' '),
    ),
    account: await standing(gateway, account),
  }
}

export async function standing(gateway: TestGateway, { key }: TestAccount): Promise<Standing> {
  const [credits, own] = [await gateway.get('/v1/credits', key), await gateway.get('/v1/key', key)]
  return { balance: moneyOf(credits['balance']), held: moneyOf(credits['held']), inFlight: own['in_flight'] }
}

/** Ids of the calls with this key that have ended and left a record, oldest first. */
export async function endedCalls(gateway: TestGateway, key: string): Promise<readonly string[]> {
  const { id } = await gateway.get('/v1/key', key)
  const lines = gateway.log.flatMap((text) => text.split('\n')).filter((line) => line.startsWith('{'))
  const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  return events.filter(({ event, key: used }) => event === 'call' && used === id).map((line) => String(line['id']))
}

/** The only call with this key, once it has ended: for a caller who hung up before he could know its id. */
export async function onlyCall(gateway: TestGateway, key: string): Promise<string> {
  const [id] = await vi.waitFor(
    async () => {
      const ids = await endedCalls(gateway, key)
      if (ids.length !== 1) throw new Error(`${ids.length} calls have ended`)
      return ids
    },
    { timeout: 15_000, interval: 10 },
  )
  return id ?? ''
}

/** A new sub-key below the account's master key, or below the sub-key whose id is given. */
export async function subKey(
  gateway: TestGateway,
  account: TestAccount,
  wanted: Record<string, unknown> = {},
): Promise<{ id: string; key: string }> {
  const parent = wanted['parent'] ?? (await gateway.get('/v1/key', account.key))['id']
  const made = await gateway.admin('POST', '/admin/v1/keys', { ...wanted, kind: 'sub', parent })
  return { id: made['id'] as string, key: made['key'] as string }
}

function moneyOf(text: unknown): bigint {
  const nanos = parseMoney(String(text))
  if (nanos === undefined) throw new Error(`${String(text)} is no amount of money`)
  return nanos
}
