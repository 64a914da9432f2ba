import type { AccountRow, Books, Clock, Crypto, KeyRow } from '../../src/ports.ts'

/** Books that know keys by their hash, and how often they were asked. */
export interface MapBooks extends Pick<Books, 'findKey'> {
  readonly keys: Map<string, KeyRow>
  readonly accounts: Map<number, AccountRow>
  asked: number
}

export function mapBooks(keys: readonly KeyRow[], accounts: readonly AccountRow[] = [account()]): MapBooks {
  const books: MapBooks = {
    keys: new Map(keys.map((key) => [key.hash, key])),
    accounts: new Map(accounts.map((row) => [row.id, row])),
    asked: 0,
    async findKey(hash) {
      books.asked += 1
      const rows = [...books.keys.values()]
      const chain: KeyRow[] = []
      for (let at = books.keys.get(hash); at; at = rows.find(({ id }) => id === chain.at(-1)?.parentId)) chain.push(at)
      const [leaf] = chain
      return leaf && { chain, account: leaf.accountId === undefined ? undefined : books.accounts.get(leaf.accountId) }
    },
  }
  return books
}

export function account(parts: Partial<AccountRow> = {}): AccountRow {
  return { id: 1, currency: 'USD', discountPpm: 1_000_000, status: 'open', ...parts }
}

export function key(parts: Partial<KeyRow> & Pick<KeyRow, 'id'>): KeyRow {
  return {
    publicId: `p${parts.id}`,
    kind: 'master',
    accountId: 1,
    parentId: undefined,
    name: '',
    hash: hashOf(`key-${parts.id}`),
    version: 1,
    models: undefined,
    budgets: [],
    requestsPerMinute: undefined,
    concurrency: undefined,
    expiresAtMs: undefined,
    revokedAtMs: undefined,
    ...parts,
  }
}

const hashOf = (text: string): string => `hash of ${text}`

/** Hashes that can be read, and secrets that count up. */
export function plainCrypto(): Crypto {
  let count = 0
  return {
    keyHash: hashOf,
    equal: (a, b) => a === b,
    uuidv7: () => '01890000-0000-7000-8000-000000000000',
    secret: (length) => String((count += 1)).padStart(length, 'A'),
  }
}

export interface HandClock extends Clock {
  nowMs: number
}

export function handClock(nowMs = 1_000_000): HandClock {
  const clock: HandClock = { nowMs, now: () => clock.nowMs, elapsed: () => clock.nowMs, after: () => () => {} }
  return clock
}

export const bearer =
  (key: string) =>
  (name: string): string | undefined =>
    name === 'authorization' ? `Bearer ${key}` : undefined

export const headers =
  (values: Readonly<Record<string, string>>) =>
  (name: string): string | undefined =>
    values[name]
