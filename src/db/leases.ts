import { StaleEpoch } from '../core/stale-epoch.ts'
import type { Beat, Books, Lease, LeaseRequest } from '../ports.ts'
import { sqlFault, type Database, type Session } from './database.ts'
import * as statements from './lease-statements.ts'

/** Money that is lent to spenders, and how it comes back. */
export type LeaseBooks = Pick<Books, 'openEpoch' | 'epochOf' | 'closeLeases' | 'closeFrozen' | 'beat' | 'lend'>

/** The largest amount that an int8 of nano-units holds with room for a sum: 9 · 10^18, which is 9 bn of a currency. */
const largestAmount = 9_000_000_000_000_000_000n
/** A frozen lease waits so long for all living replicas: a hold's term and the time in which it is claimed. */
const freezeMs = 45_000
/** A replica that was not seen for this long is presumed dead; its row goes after an hour. */
const deadMs = 120_000
const forgetMs = 3_600_000
/** Where nobody was seen for this long, ten beats, it was the database that was away. */
const silenceMs = 30_000
/** Leases given back in one step, and steps of one run; dead replicas looked at in one run. */
const giveBackRows = 1_000
const giveBackSteps = 200
const deadLimit = 1_000
/** Leases that a beat may name: some 3 MB. */
const beatLimit = 100_000
const nameLimit = 200
/** How the books name the spender that is a replica itself. */
const ownSpender = 'replica:'

/** `now` stands in for the database's clock where a grant's end is concerned; replicas live by the database's. */
export function openLeases(database: Database, now?: () => number): LeaseBooks {
  return {
    openEpoch: (spender, after) => database.transaction((session) => openEpoch(session, spender, after)),
    async epochOf(spender) {
      const [row] = await database.query<{ epoch: number }>(statements.latestEpoch, [spender])
      return row?.epoch ?? 0
    },
    async closeLeases(spender) {
      // One transaction each: a spender may have as many leases as there are accounts.
      for (const { id } of await database.query<{ id: bigint }>(statements.frozenLeases, [spender]))
        await database.query(statements.closeLease, [id])
    },
    closeFrozen: () => closeFrozen(database),
    beat: (told) => beat(database, told),
    lend: (request) => lend(database, request, now ? new Date(now()) : null),
  }
}

async function openEpoch(session: Session, spender: string, after?: number): Promise<number> {
  if (spender.startsWith(ownSpender)) {
    // It has money of its own from now on, and must be missed when it dies, beaten or not.
    await session.query(statements.passSilence, [silenceMs])
    await session.query(statements.seeReplica, [nameOf(spender.slice(ownSpender.length))])
  }
  return renew(session, spender, after)
}

async function renew(session: Session, spender: string, after?: number): Promise<number> {
  // Two statements: the second must see leases that were granted while the first waited.
  const [row] = await session.query<{ epoch: number }>(statements.openEpoch, [spender, after ?? null])
  if (!row) return 0
  await session.query(statements.freezeLeases, [spender, row.epoch])
  return row.epoch
}

async function lend(database: Database, request: LeaseRequest, at: Date | null): Promise<Lease> {
  const { purse, spender, epoch, want, target } = request
  const aim = target === undefined ? null : smaller(target, largestAmount)
  const parameters = [purse, spender, epoch, smaller(want, largestAmount), aim, at]
  try {
    const [row] = await database.query<{ lease_id: bigint; lent: bigint }>(statements.grantLease, parameters)
    if (!row) throw new Error('the database gave no lease')
    return { id: small(row.lease_id), lent: row.lent }
  } catch (error) {
    if (sqlFault(error)?.code === 'TG001') throw new StaleEpoch(spender, error)
    throw error
  }
}

async function beat(database: Database, { replica, outstanding, asOfMs }: Beat): Promise<number> {
  if (asOfMs !== undefined && !Number.isSafeInteger(asOfMs)) throw new RangeError('a beat is as of whole milliseconds')
  const parameters = [nameOf(replica), printOutstanding(outstanding), asOfMs ?? null]
  return database.transaction(async (session) => {
    await session.query(statements.passSilence, [silenceMs])
    const [row] = await session.query<{ now: bigint }>(statements.beat, parameters)
    if (!row) throw new Error('the database gave no time')
    return small(row.now)
  })
}

function printOutstanding(outstanding: Beat['outstanding']): string {
  const owed = [...outstanding].filter(([lease, amount]) => Number.isSafeInteger(lease) && lease > 0 && amount > 0n)
  // The largest where there are too many: what is not told may be lent again before it is charged, so it must be little.
  if (owed.length > beatLimit) owed.sort(([, a], [, b]) => (a < b ? 1 : a > b ? -1 : 0))
  const told = owed.slice(0, beatLimit).map(([lease, amount]) => [lease, smaller(amount, largestAmount).toString()])
  return JSON.stringify(Object.fromEntries(told))
}

async function closeFrozen(database: Database): Promise<void> {
  await database.query(statements.passSilence, [silenceMs])
  for (const { id } of await database.query<{ id: string }>(statements.deadReplicas, [deadMs, deadLimit]))
    await database.transaction((session) => endDead(session, id))
  let after = 0n
  for (let step = 0; step < giveBackSteps; step++) {
    const parameters = [after, giveBackRows, freezeMs, deadMs]
    const [row] = await database.query<{ looked: bigint; latest: bigint }>(statements.giveBack, parameters)
    if (!row || row.looked < BigInt(giveBackRows)) break
    after = row.latest
  }
  await database.query(statements.forgetReplicas, [forgetMs, deadLimit])
}

/** Ends the epoch of a replica that is dead still: what it had lent to itself died with its memory. */
async function endDead(session: Session, id: string): Promise<void> {
  const [dead] = await session.query(statements.lockDead, [id, deadMs])
  if (dead) await renew(session, ownSpender + id)
}

function nameOf(replica: string): string {
  if (replica === '' || replica.length > nameLimit || replica.includes('\0') || !replica.isWellFormed())
    throw new RangeError(`the name of a replica has 1 to ${nameLimit} characters`)
  return replica
}

/** An id of the database as a number. They count up from 1. */
function small(id: bigint): number {
  const number = Number(id)
  if (!Number.isSafeInteger(number)) throw new RangeError('an id of the database is larger than 2^53')
  return number
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b)
