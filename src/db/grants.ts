import { periodAt, type QuotaPeriod } from '../core/calendar.ts'
import { GatewayError } from '../core/errors.ts'
import { tokenAsset } from '../core/tokens.ts'
import type { Purse } from '../ports.ts'
import type { Database, Parameter, Row } from './database.ts'
import * as statements from './grant-statements.ts'

/** What an operator gives or sells. */
export interface NewGrant {
  readonly accountId: number
  readonly kind: 'credit' | 'package'
  /** Nano-units of the account's currency; for a package micro-tokens. More than zero. */
  readonly amount: bigint
  /** What a package is sold for, in nano-units; paid outside, like a recharge. */
  readonly price: bigint
  /** 0 to 100; 0 pays first. */
  readonly priority: number
  /** Patterns of public model names; none: all. */
  readonly models: readonly string[]
  /** Absent: from now on. */
  readonly effectiveAtMs?: number | undefined
  readonly expiresAtMs?: number | undefined
  readonly source: string
  /** One reference is granted once, over all accounts. */
  readonly ref: string
}

export interface Grant {
  readonly id: number
  readonly kind: 'credit' | 'package' | 'quota'
  readonly asset: string
  readonly amount: bigint
  /** All that is posted to its purse: what is free and what is lent. Holds of running calls are not taken off. */
  readonly left: bigint
  readonly priority: number
  readonly models: readonly string[]
  readonly effectiveAt: Date
  readonly expiresAt: Date | undefined
  readonly voidedAt: Date | undefined
  readonly quotaId: number | undefined
  readonly price: bigint
  readonly source: string
  readonly ref: string | undefined
  readonly createdAt: Date
}

/** Which grants of an account: a page of them, newest first, or one. */
export interface GrantsOf {
  readonly accountId: number
  readonly limit: number
  /** Only those made before this one. */
  readonly before?: number | undefined
  readonly id?: number | undefined
}

/** The books of grants and quotas. */
export interface GrantBooks {
  /** The purses of an account that can pay now, in burn order; the grants of new periods are made here. */
  purses(accountId: number): Promise<readonly Purse[]>
  /** Once for each reference: `applied` is false when it was there. GatewayError `not_found`, `conflict`. */
  grant(wanted: NewGrant): Promise<{ readonly id: number; readonly applied: boolean }>
  /**
   * Ends a grant: nothing is drawn on it from now on, and what is free of it goes back to where it came from; what is
   * lent follows when it comes back. Doing it again changes nothing. GatewayError `not_found`.
   */
  voidGrant(accountId: number, id: number): Promise<void>
  grants(of: GrantsOf): Promise<readonly Grant[]>
  /** Takes what is left of grants that have ended; gives how many it looked at. Doing it again changes nothing. */
  endGrants(): Promise<number>
}

/** A call that began before a grant ended is in the books by then, whatever died: it ends within hours. */
const graceMs = 86_400_000
/** Grants ended in one step of the job, and steps of one run. */
const endedRows = 500
const endSteps = 20

interface QuotaRow extends Row {
  readonly id: bigint
  readonly asset: string
  readonly amount: bigint
  readonly period: QuotaPeriod
  readonly anchor: Date
  readonly time_zone: string
  readonly priority: number
  readonly models: readonly string[]
  readonly latest: Date | null
  readonly now: Date
}

interface PurseRow extends Row {
  readonly id: bigint
  readonly kind: Purse['kind']
  readonly asset: string
  readonly models: readonly string[]
  readonly expires_at: Date | null
  readonly posted: bigint
}

/** `now` stands in for the database's clock. */
export function openGrants(database: Database, now?: () => number): GrantBooks {
  const moment = (): Date | null => (now ? new Date(now()) : null)
  return {
    async purses(accountId) {
      const at = moment()
      await renewQuotas(database, accountId, at)
      return (await database.query<PurseRow>(statements.purses, [accountId, at])).map(purseOf)
    },
    grant: (wanted) => grant(database, wanted, moment()),
    voidGrant: (accountId, id) => voidGrant(database, { accountId, id }, moment()),
    async grants({ accountId, limit, before, id }) {
      const rows = await database.query<GrantRow>(statements.grantList, [accountId, before ?? null, limit, id ?? null])
      return rows.map(grantOf)
    },
    endGrants: () => endGrants(database, moment()),
  }
}

function small(id: bigint): number {
  const number = Number(id)
  if (!Number.isSafeInteger(number)) throw new RangeError('an id of the database is larger than 2^53')
  return number
}

function purseOf({ id, kind, asset, models, expires_at: expiresAt, posted }: PurseRow): Purse {
  return { id: small(id), kind, asset, models, expiresAtMs: expiresAt?.getTime(), posted }
}

/** Makes the grant of each quota's current period where it is missing: of several that try, one does. */
async function renewQuotas(database: Database, accountId: number, at: Date | null): Promise<void> {
  for (const row of await database.query<QuotaRow>(statements.quotas, [accountId, at])) {
    const calendar = { period: row.period, anchorMs: row.anchor.getTime(), timeZone: row.time_zone }
    const period = periodAt(calendar, row.now.getTime())
    // A clock that went back makes no grant of a period that has passed.
    if (!period || (row.latest && row.latest.getTime() >= period.startMs)) continue
    const start = new Date(period.startMs)
    await database.query(statements.openGrant, [
      accountId,
      'quota',
      row.asset,
      row.amount,
      row.priority,
      JSON.stringify(row.models),
      start,
      new Date(period.endMs),
      row.id,
      start,
      0n,
      `quota ${row.id}`,
      null,
    ])
  }
}

interface AskedRow extends Row {
  readonly id: bigint
  readonly account_id: bigint
  readonly kind: string
  readonly asset: string
  readonly amount: bigint
  readonly priority: number
  readonly models: readonly string[]
  readonly effective_at: Date
  readonly expires_at: Date | null
  readonly price: bigint
}

async function grant(database: Database, wanted: NewGrant, at: Date | null) {
  const { effectiveAtMs, expiresAtMs, ref } = wanted
  const parameters: Parameter[] = [
    wanted.accountId,
    wanted.kind,
    wanted.kind === 'package' ? tokenAsset : null,
    wanted.amount,
    wanted.priority,
    JSON.stringify(wanted.models),
    effectiveAtMs === undefined ? at : new Date(effectiveAtMs),
    expiresAtMs === undefined ? null : new Date(expiresAtMs),
    null,
    null,
    wanted.price,
    wanted.source,
    ref,
  ]
  const [made] = await database.query<{ id: bigint }>(statements.openGrant, parameters)
  if (made) return { id: small(made.id), applied: true }
  const [before] = await database.query<AskedRow>(statements.grantOf, [ref])
  if (!before) throw new GatewayError('not_found', `There is no account ${wanted.accountId}.`)
  if (isSame(before, wanted)) return { id: small(before.id), applied: false }
  throw new GatewayError(
    'conflict',
    `The reference was already used for another grant, ${before.id} of account ${before.account_id}. A reference is granted once.`,
    { param: 'reference' },
  )
}

function isSame(before: AskedRow, wanted: NewGrant): boolean {
  const { effectiveAtMs = before.effective_at.getTime() } = wanted
  return (
    small(before.account_id) === wanted.accountId &&
    before.kind === wanted.kind &&
    before.amount === wanted.amount &&
    before.price === wanted.price &&
    before.priority === wanted.priority &&
    JSON.stringify(before.models) === JSON.stringify(wanted.models) &&
    before.effective_at.getTime() === effectiveAtMs &&
    before.expires_at?.getTime() === wanted.expiresAtMs
  )
}

async function voidGrant(
  database: Database,
  { accountId, id }: { readonly accountId: number; readonly id: number },
  at: Date | null,
): Promise<void> {
  const [found] = await database.query(statements.voidGrant, [id, accountId, at])
  if (!found) throw new GatewayError('not_found', 'The account has no grant of this id.')
  await database.query(statements.endGrant, [id, at, graceMs])
}

async function endGrants(database: Database, at: Date | null): Promise<number> {
  let count = 0
  for (let step = 0; step < endSteps; step++) {
    const ended = await database.query<{ id: bigint }>(statements.endedGrants, [at, graceMs, endedRows])
    // One transaction each: what one grant holds up does not hold up the others.
    for (const { id } of ended) await database.query(statements.endGrant, [id, at, graceMs])
    count += ended.length
    if (ended.length < endedRows) break
  }
  return count
}

interface GrantRow extends Row {
  readonly id: bigint
  readonly kind: Grant['kind']
  readonly asset: string
  readonly amount: bigint
  readonly priority: number
  readonly models: readonly string[]
  readonly effective_at: Date
  readonly expires_at: Date | null
  readonly voided_at: Date | null
  readonly quota_id: bigint | null
  readonly price: bigint
  readonly source: string
  readonly ref: string | null
  readonly created_at: Date
  readonly left: bigint
}

function grantOf(row: GrantRow): Grant {
  return {
    id: small(row.id),
    kind: row.kind,
    asset: row.asset,
    amount: row.amount,
    left: row.left,
    priority: row.priority,
    models: row.models,
    effectiveAt: row.effective_at,
    expiresAt: row.expires_at ?? undefined,
    voidedAt: row.voided_at ?? undefined,
    quotaId: row.quota_id === null ? undefined : small(row.quota_id),
    price: row.price,
    source: row.source,
    ref: row.ref ?? undefined,
    createdAt: row.created_at,
  }
}
