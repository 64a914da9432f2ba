import type { Part, UsageRecord } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { StaleEpoch } from '../../src/core/stale-epoch.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import { noon, record } from '../db/records.ts'
import type { Side, SideClock, SidePayer, SidePurse } from './books-side.ts'
import type { BooksStep, RecordStep } from './books-steps.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const creditLimits = [0n, 500n]

/** One side in one history. Replies and states name accounts, purses and leases by their order, so that sides agree. */
export interface Play {
  act(step: BooksStep): Promise<unknown>
  state(): Promise<unknown>
}

/** What all sides of a history share. */
export interface History {
  /** Not of any other history: it is in every reference. */
  readonly name: string
  /** The ids of the calls. */
  readonly calls: readonly string[]
  readonly clock: SideClock
}

/** What one side has come to. Purses and leases are in the order in which all sides made them. */
interface World extends History {
  readonly side: Side
  readonly payers: readonly SidePayer[]
  purses: readonly SidePurse[]
  readonly leases: { readonly id: number; readonly purse: number }[]
  readonly epochs: Map<string, number>
  readonly flushed: (readonly UsageRecord[])[]
  quotas: number
}

export async function openPlay(side: Side, history: History): Promise<Play> {
  const payers = await side.newPayers(creditLimits)
  const accounts = payers.map(({ accountId }) => accountId)
  const purses = await side.purses(accounts)
  const world: World = { ...history, side, payers, purses, leases: [], epochs: new Map(), flushed: [], quotas: 0 }
  return {
    async act(step) {
      try {
        return await run(world, step)
      } catch (error) {
        if (error instanceof GatewayError) return { refused: error.code }
        if (error instanceof StaleEpoch) return { refused: 'stale epoch' }
        throw error
      }
    },
    state: () => state(world),
  }
}

const at = <T>(list: readonly T[], index: number): T => {
  const found = list[index % list.length]
  if (found === undefined) throw new Error('a list of nothing')
  return found
}

const spenderOf = ({ name }: World, spender: number): string => `cell:${name}/${spender}`

/** Runs a step and gives what the side replied, in names that all sides have. */
async function run(world: World, step: BooksStep): Promise<unknown> {
  const { side, payers } = world
  switch (step.do) {
    case 'pay':
      return side.pay({ accountId: at(payers, step.payer).accountId, amount: step.amount, ref: refOf(world, step.ref) })
    case 'epoch':
      return openEpoch(world, spenderOf(world, step.spender))
    case 'close':
      return side.books.closeLeases(spenderOf(world, step.spender))
    case 'lend':
      return lend(world, step)
    case 'flush':
      return flush(world, step)
    case 'resend':
      return side.books.flush(world.flushed.at(-1 - step.ago) ?? [])
    case 'refund':
      return refund(world, step)
    case 'grant':
      return grant(world, step)
    case 'quota':
      return addQuota(world, step)
    case 'void':
      return voidGrant(world, at(world.purses, step.purse))
    case 'purses':
      return purses(world, step.payer)
    case 'balance':
      return side.wallet(at(payers, step.payer).accountId)
    case 'spent':
      return side.books.spent(at(at(payers, step.payer).keys, step.key), 'hour', noon + step.hours * hourMs)
    case 'pass':
      return undefined
    case 'rollup':
      return void (await side.rollup())
    case 'end':
      return void (await side.endGrants())
  }
}

const refOf = ({ name }: World, ref: number): string => `${name}/${ref}`

type Step<K extends BooksStep['do']> = Extract<BooksStep, { readonly do: K }>

async function openEpoch({ side, epochs }: World, spender: string): Promise<number> {
  const epoch = await side.books.openEpoch(spender)
  epochs.set(spender, epoch)
  return epoch
}

async function lend(world: World, step: Step<'lend'>): Promise<unknown> {
  const { side, epochs, leases } = world
  const spender = spenderOf(world, step.spender)
  const epoch = (epochs.get(spender) ?? 0) - (step.isStale ? 1 : 0)
  const { id: purse } = at(world.purses, step.purse)
  const { want, target } = step
  const { id, lent } = await side.books.lend({ purse, spender, epoch, want, ...(target !== undefined && { target }) })
  if (!leases.some((one) => one.id === id)) leases.push({ id, purse })
  return { lease: leases.findIndex((one) => one.id === id), lent }
}

async function flush(world: World, step: Step<'flush'>): Promise<unknown> {
  const records = step.records.map((one) => recordOf(world, one))
  world.flushed.push(records)
  const first = await world.side.books.flush(records)
  return step.isTwice ? [first, await world.side.books.flush(records)] : first
}

/** A record whose parts are drawn on purses of the call's own account. */
function recordOf(world: World, step: RecordStep): UsageRecord {
  const { accountId, keys } = at(world.payers, step.call)
  const own = world.purses.filter((purse) => purse.accountId === accountId)
  const parts = step.parts.map(({ purse: index, lease, amount }): Part => {
    const purse = at(own, index)
    const leases = [0, ...world.leases.flatMap((one) => (one.purse === purse.id ? one.id : []))]
    return {
      purse: purse.id,
      lease: at(leases, lease),
      amount,
      ...(purse.asset === tokenAsset && { asset: tokenAsset }),
    }
  })
  const charge = parts.reduce((sum, { amount, asset }) => (asset ? sum : sum + amount), 0n)
  const endedAtMs = noon + step.endedHours * hourMs
  const times = { startedAtMs: endedAtMs, endedAtMs }
  const tries = step.attempts.map(({ vendor, cost, currency: costCurrency }) => ({ vendor, cost, costCurrency }))
  return record({
    ...times,
    id: at(world.calls, step.call),
    kind: step.kind,
    accountId,
    keyId: at(keys, step.key),
    parts,
    charge,
    priced: charge,
    usage: { counts: { input: step.input, output: step.output }, source: 'vendor' },
    attempts: tries.map((one) => ({ ...times, ...one, model: 'gpt-4o', status: 200 })),
    vendor: tries.at(-1)?.vendor ?? '',
  })
}

async function refund(world: World, step: Step<'refund'>): Promise<unknown> {
  const { amount, tokens } = step
  const terms = { amount, tokens, reason: 'a reason', ref: refOf(world, step.ref) }
  const { accountId, grants, ...reply } = await world.side.refund({ ...terms, id: at(world.calls, step.call) })
  await learn(world)
  return { ...reply, account: accountName(world, accountId), grants: grants.map((id) => grantName(world, id)) }
}

async function grant(world: World, step: Step<'grant'>): Promise<unknown> {
  const { kind, amount, priority, days } = step
  const price = kind === 'package' ? step.price : 0n
  const terms = { kind, amount, price, priority, models: [], source: 'differential', ref: refOf(world, step.ref) }
  const expiresAtMs = days === undefined ? undefined : world.clock.nowMs + days * dayMs
  const { accountId } = at(world.payers, step.payer)
  const { id, applied } = await world.side.grant({ ...terms, accountId, expiresAtMs })
  await learn(world)
  return { applied, grant: grantName(world, id) }
}

async function addQuota(world: World, { payer, isTokens, amount }: Step<'quota'>): Promise<void> {
  const { accountId } = at(world.payers, payer)
  const terms = { accountId, asset: isTokens ? tokenAsset : 'USD', amount, priority: 10, anchorMs: noon - dayMs }
  await world.side.addQuota({ ...terms, ref: `${world.name}/${world.quotas++}` })
}

/** A wallet has no grant to void. */
async function voidGrant({ side }: World, { accountId, grantId }: SidePurse): Promise<void> {
  await side.voidGrant(accountId, grantId ?? 0)
}

async function purses(world: World, payer: number): Promise<unknown> {
  const list = await world.side.books.purses(at(world.payers, payer).accountId)
  await learn(world)
  return list.map(({ id, ...purse }) => ({ ...purse, purse: purseName(world, id) }))
}

/** Grants bring purses. */
async function learn(world: World): Promise<void> {
  world.purses = await world.side.purses(world.payers.map(({ accountId }) => accountId))
}

const accountName = ({ payers }: World, id: number): number => payers.findIndex(({ accountId }) => accountId === id)
const purseName = ({ purses: all }: World, id: number): number => all.findIndex((purse) => purse.id === id)
const grantName = ({ purses: all }: World, id: number): number => all.findIndex(({ grantId }) => grantId === id)
const leaseName = ({ leases }: World, id: number): number => leases.findIndex((lease) => lease.id === id)

/** The rows of the books in those names. */
async function state(world: World): Promise<unknown> {
  const found = await world.side.state(world.payers.map(({ accountId }) => accountId))
  const hours = found.hours.map(({ account, key, ...hour }) => {
    const payer = accountName(world, account)
    return { ...hour, account: payer, key: world.payers[payer]?.keys.indexOf(key) }
  })
  return {
    purses: found.purses.map(({ id, accountId, grantId, ...purse }) => ({
      ...purse,
      account: accountName(world, accountId),
      isGrant: grantId !== null,
    })),
    leases: found.leases.map(({ id, purse, ...lease }) => ({
      ...lease,
      lease: leaseName(world, id),
      purse: purseName(world, purse),
    })),
    rows: found.rows.map(({ parts, ...row }) => ({
      ...row,
      parts: parts.map(({ purse, lease, amount }) => ({
        amount,
        purse: purseName(world, purse),
        lease: leaseName(world, lease),
      })),
    })),
    hours: hours.map((hour) => JSON.stringify(hour, Object.keys(hour).sort())).sort(),
  }
}
