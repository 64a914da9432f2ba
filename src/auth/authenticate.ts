import type { Caller, KeyFacts } from '../core/call.ts'
import { GatewayError, invalidKey } from '../core/errors.ts'
import type { AccountRow, Books, Clock, Crypto, KeyRow } from '../ports.ts'
import { readCredential, type Header } from './credential.ts'
import { openDoubt } from './doubt.ts'
import { createRecent } from './recent.ts'

/** Who may use the admin API. An owner is a master key or sub-key: it manages the keys below itself. */
export type Manager =
  | { readonly kind: 'management'; readonly keyId: number; readonly publicId: string }
  | {
      readonly kind: 'owner'
      readonly keyId: number
      readonly publicId: string
      readonly accountId: number
      /** Leaf first. */
      readonly chain: readonly KeyRow[]
    }

export interface Authenticator {
  /**
   * Who makes this call; `inAddress` is the key that the address holds, in dialects that have it there. Throws `invalid_api_key`, `permission_denied` (a management key, a closed account), or
   * `billing_unavailable` while the books cannot be asked.
   */
  caller(header: Header, inAddress?: string): Promise<Caller>
  /** Who makes this admin request. Throws as `caller` does, but for management keys. */
  manager(header: Header): Promise<Manager>
  /** Drops what is remembered of a key and of all below it; without a key, everything. */
  forget(keyId?: number): void
}

export interface AuthenticatorDeps {
  readonly books: Pick<Books, 'findKey'>
  readonly crypto: Crypto
  readonly clock: Clock
}

/** Keys in a chain, the leaf included. */
export const maxChain = 8
/**
 * 5 s: how long another process may still let a revoked key in where admission cannot see the newer version. An hour
 * more while the books are away: nobody can change a key then, and what it may spend is lent already.
 */
const known = { entries: 10_000, lifeMs: 5_000, staleMs: 3_600_000 }
/** Against a flood of one wrong key; short, because the key may be made the next moment. */
const unknown = { entries: 10_000, lifeMs: 1_000 }

interface Found {
  readonly chain: readonly KeyRow[]
  readonly leaf: KeyRow
  readonly account: AccountRow | undefined
  /** Absent where the key cannot call models. */
  readonly caller: Caller | undefined
}

export function createAuthenticator({ books, crypto, clock }: AuthenticatorDeps): Authenticator {
  const found = createRecent<Found>(clock, known)
  const missing = createRecent<true>(clock, unknown)
  const doubt = openDoubt(clock)
  let changes = 0

  /** The key of a request and its chain, as fresh as the short memory allows. */
  async function find(header: Header, inAddress: string | undefined): Promise<Found> {
    const hash = crypto.keyHash(readCredential(header, inAddress))
    const remembered = found.get(hash)
    if (remembered !== undefined) return remembered
    if (missing.get(hash)) throw invalidKey()
    const stale = found.stale(hash)
    if (stale !== undefined && doubt.isOn) return stale
    const seen = changes
    const asked = await doubt.watch(ask(books, hash)).catch((error) => ({ error }))
    if (asked && 'error' in asked) {
      if (stale !== undefined) return stale
      throw asked.error
    }
    const entry = readEntry(asked)
    const matches = entry !== undefined && crypto.equal(entry.leaf.hash, hash)
    // An answer that was under way while a key changed may be from before the change: used once, not remembered.
    if (seen === changes) {
      if (matches) found.set(hash, entry)
      else missing.set(hash, true)
    }
    if (!matches) throw invalidKey()
    return entry
  }

  async function live(header: Header, inAddress?: string): Promise<Found> {
    const entry = await find(header, inAddress)
    const now = clock.now()
    if (!entry.chain.every((key) => isLive(key, now))) throw invalidKey()
    if (entry.account?.status === 'closed')
      throw new GatewayError('permission_denied', 'The account of this key is closed.')
    return entry
  }

  return {
    async caller(header, inAddress) {
      const { caller } = await live(header, inAddress)
      if (caller !== undefined) return caller
      throw new GatewayError('permission_denied', 'A management key cannot call models. Use a master key or a sub-key.')
    },
    async manager(header) {
      const { leaf, chain } = await live(header)
      const { id: keyId, publicId, accountId } = leaf
      if (leaf.kind === 'management') return { kind: 'management', keyId, publicId }
      if (accountId === undefined) throw invalidKey()
      return { kind: 'owner', keyId, publicId, accountId, chain }
    },
    forget(keyId) {
      changes += 1
      missing.forget()
      found.forget(keyId === undefined ? undefined : ({ chain }) => chain.some((key) => key.id === keyId))
    },
  }
}

async function ask(books: AuthenticatorDeps['books'], hash: string): ReturnType<Books['findKey']> {
  try {
    return await books.findKey(hash)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('billing_unavailable', 'The key cannot be checked at the moment. Try again.', {
      cause: error,
    })
  }
}

function isLive({ revokedAtMs, expiresAtMs }: KeyRow, nowMs: number): boolean {
  return revokedAtMs === undefined && (expiresAtMs === undefined || nowMs < expiresAtMs)
}

/** A chain that is whole, with what follows from it; undefined for one that is not: such a key opens nothing. */
function readEntry(answer: Awaited<ReturnType<Books['findKey']>>): Found | undefined {
  const [leaf] = answer?.chain ?? []
  if (answer === undefined || leaf === undefined || !isWhole(answer.chain)) return undefined
  const { chain, account } = answer
  if (leaf.kind === 'management') return { chain, leaf, account: undefined, caller: undefined }
  if (account === undefined || account.id !== leaf.accountId) return undefined
  return { chain, leaf, account, caller: buildCaller({ chain, leaf, account, kind: leaf.kind }) }
}

/** From the leaf to a key without a parent, each the parent of the one before, all of one account. */
function isWhole(chain: readonly KeyRow[]): boolean {
  if (chain.length > maxChain) return false
  return chain.every(
    (key, index) =>
      key.parentId === chain[index + 1]?.id &&
      key.accountId === chain[0]?.accountId &&
      (key.kind === 'sub') === (key.parentId !== undefined),
  )
}

interface CallerParts {
  readonly chain: readonly KeyRow[]
  readonly leaf: KeyRow
  readonly account: AccountRow
  readonly kind: 'master' | 'sub'
}

function buildCaller({ chain, leaf, account, kind }: CallerParts): Caller {
  const routing = chain.find((key) => key.routing !== undefined)?.routing
  return {
    accountId: account.id,
    currency: account.currency,
    discountPpm: account.discountPpm,
    keyId: leaf.id,
    publicId: leaf.publicId,
    kind,
    chain: chain.map(keyFacts),
    models: chain.flatMap(({ models }) => (models === undefined ? [] : [models])),
    ...accountLimits(account),
    ...(routing && { routing }),
  }
}

function accountLimits({ tier, limits, concurrency, budgets, version }: AccountRow): Pick<Caller, 'account'> {
  const account = {
    ...(tier !== undefined && { tier }),
    ...(limits !== undefined && { limits }),
    ...(concurrency !== undefined && { concurrency }),
    ...(budgets !== undefined && { budgets }),
    ...(version !== undefined && { version }),
  }
  return Object.keys(account).length === 0 ? {} : { account }
}

function keyFacts({ id, version, budgets, requestsPerMinute, concurrency, limits }: KeyRow): KeyFacts {
  return {
    id,
    version,
    budgets,
    ...(requestsPerMinute === undefined ? {} : { requestsPerMinute }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(limits === undefined ? {} : { limits }),
  }
}
