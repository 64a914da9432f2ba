import { isRedisShaky } from './profiles.ts'
import { redisSpender } from './redis.ts'
import { accounts, budget, budgeted, overflowNanos, type Slot, type State } from './scene.ts'

/** After healing nothing may be held, waiting, or unlike the books. */
export async function leftOver(state: State): Promise<string[]> {
  const wrong: string[] = []
  for (const slot of state.slots) wrong.push(...leftAt(slot))
  for (let id = 1; id <= accounts; id++) {
    wrong.push(...(await leftOf(state, id)))
    const overdraft = overdraftOf(state, id)
    for (const purse of state.books.purseRows.values())
      if (purse.accountId === id && -purse.posted > overdraft)
        wrong.push(`account ${id} is overdrawn by ${-purse.posted}, at most by ${overdraft}`)
  }
  const left = [...(state.redis?.holds.values() ?? [])].filter(({ facts }) => isStanding(state, facts.accountId))
  if (left.length > 0) wrong.push(`${left.length} holds are left in Redis`)
  for (const lease of state.books.leases) {
    const rest = lease.amount - lease.consumed
    const isIdle = lease.state === 'frozen' || (lease.state === 'open' && lease.spender.startsWith('replica:'))
    if (isIdle && rest > 0n) wrong.push(`lease ${lease.id} of ${lease.spender} keeps ${rest}`)
  }
  return wrong
}

function leftAt({ replica, disk, name }: Slot): string[] {
  if (!replica?.owner.isAlive) return [`${name} did not come up again`]
  const { live, batcher } = replica.gateway.ledger
  return [
    ...(disk.size > 0 ? [`${disk.size} holds are left on the disk of ${name}`] : []),
    ...(live.size > 0 ? [`${live.size} calls of ${name} still hold`] : []),
    ...(batcher.waiting > 0 ? [`${batcher.waiting} records of ${name} are not in the books`] : []),
  ]
}

/** What was written under an epoch that a new start ended is dropped when its cell is next used. */
function isStanding({ redis }: State, accountId: number): boolean {
  return redis === undefined || redis.standing(redisSpender(accountId)) > 0
}

async function leftOf(state: State, id: number): Promise<string[]> {
  const { redis, slots, books, profile } = state
  if (!isStanding(state, id)) return []
  const wrong: string[] = []
  const own = slots[0]?.replica?.gateway.ledger.homes.of(id).shared
  const account = redis ? redis.accounts.get(id) : await own?.account(id)
  for (const record of account?.purses ?? []) {
    if (record.held !== 0n) wrong.push(`account ${id} still holds ${record.held}`)
    const lease = books.leases.find((one) => one.id === record.lease)
    // A loan whose answer was lost is heard of with the next one: until then it lies idle.
    const isKnown = profile.lostAnswers === 0 && profile.booksOutage === 0 && profile.kill === 0 && !redis
    const isEnded = lease?.state !== 'open'
    const owed = lease && lease.amount - lease.consumed
    if (owed !== undefined && !isEnded && (isKnown ? owed !== record.available : owed < record.available))
      wrong.push(`account ${id}: engine has ${record.available} of lease ${lease?.id}, the books ${owed}`)
  }
  const key = redis ? redis.keys.get(id) : await own?.key(id, id)
  if (key && key.inFlight !== 0) wrong.push(`key ${id} still has ${key.inFlight} in flight`)
  return wrong
}

/** A process forwards nothing for a call that was taken from it; only one that cannot hear of that may. */
export function unfenced({ truths, reaped, profile }: State): string[] {
  if (isRedisShaky(profile)) return []
  // An answer that was gathered is sent with its end, and charged late where the call was taken meanwhile.
  const streams = [...truths.values()].filter(({ stream }) => stream)
  return streams.flatMap(({ id, deliveries }) => {
    const atMs = reaped.get(id)
    const last = deliveries.at(-1)
    return atMs !== undefined && last && last.atMs > atMs
      ? [`${id} was served ${last.atMs - atMs} ms after its end`]
      : []
  })
}

/** What a key has spent is within its budget, but for what vendors counted too much and what came late. */
export function overBudget(state: State): string[] {
  // A budget is counted where the hold is: what a lost Redis had counted the books bring back without what runs.
  if (isRedisShaky(state.profile)) return []
  const rows = [...state.books.rows.values()].flat().filter(({ record }) => record.accountId === budgeted)
  const spent = rows.reduce((sum, { charge }) => sum + charge, 0n)
  return spent > budget + overdraftOf(state, budgeted) ? [`${spent} is spent of a budget of ${budget}`] : []
}

/**
 * By how much an account may be overdrawn. A vendor may count more than it was held for: the three tokens of "more", on
 * the calls that were charged by it. And what comes late, after the reaper or after its loan was given back, is charged
 * whatever is left.
 */
export function overdraftOf(state: State, accountId: number): bigint {
  const { books, late } = state
  const adjusted = [...books.rows.values()]
    .flat()
    .filter(({ kind, charge, record }) => kind === 'adjust' && charge > 0n && record.accountId === accountId)
    .reduce((sum, { charge }) => sum + charge, 0n)
  return overflowOf(state, accountId) + adjusted + (late.get(accountId) ?? 0n)
}

export function overflowOf({ truths, plans }: State, accountId: number): bigint {
  const over = [...truths.values()].filter(
    (truth) => truth.accountId === accountId && truth.vendorUsage && plans.get(truth.id)?.usage === 'more',
  )
  return BigInt(over.length) * overflowNanos
}
