import type { KeyFacts } from '../../core/call.ts'
import { periodEnd } from '../../core/period.ts'
import { counted } from '../../core/rate-limit.ts'
import { assert } from './assert.ts'
import type { Admit, AdmitReply, Decision } from './commands.ts'
import { areDistinct, maxChain } from './invariants.ts'
import { brokenBudget, occupy, requestsOf } from './keys.ts'
import { amountOf, checkLimits, fullMeter, limitsTokens, metersOf, type Candidate, tightest } from './limits.ts'
import { type Drawn, draw, setAside, sumMoney } from './purses.ts'
import { type AccountRecord, type HoldRecord, type KeyBudgets, type KeyRecord, type Records } from './records.ts'

/** A full concurrency limit has no time of its own; most calls end within seconds. */
export const concurrencyRetryMs = 1_000

/** A key's limits beside its counters. */
interface Link {
  readonly facts: KeyFacts
  /** Its meters are those of its limits, brought to now. */
  readonly key: KeyRecord
}

/** Checks the account, the chain of keys and the purses, in that order, and makes the hold; or changes nothing. */
export function admit(records: Records, command: Admit, nowMs: number): Decision<Admit> {
  checkCommand(command)
  const { account } = records
  const chain = links(records, command, nowMs)
  if (!account || chain.length < command.keys.length) return { reply: load(records, command) }
  if (account.epoch !== command.epoch) return { reply: { code: 'epoch', epoch: account.epoch } }
  if (account.status !== 'open') return { reply: { code: 'denied', what: 'account' } }
  if (records.hold) return { reply: { code: 'duplicate', state: records.hold.state } }
  const refusal = staleKey(chain) ?? reachedLimit(chain, command, nowMs)
  if (refusal) return { reply: refusal }
  const drawn = draw(account, command.needs, nowMs)
  if (drawn.short) return { reply: { code: 'funds', available: drawn.available, held: drawn.held } }
  return admitted({ account, chain, drawn }, command, nowMs)
}

/** What must be true of an admission whatever the records say. Throws LedgerAssertion. */
export function checkCommand(command: Admit): void {
  assert(command.estimate >= 0n, 'an estimate cannot be negative')
  assert(command.termMs > 0, 'a hold has a term')
  assert(command.facts.accountId === command.accountId, 'a hold is made on the account that it names')
  assert(command.keys.length <= maxChain, 'the chain of keys is bounded')
  assert(areDistinct(command.keys.map(({ id }) => id)), 'a key is in its chain once')
  // The end of the hold finds its keys through the facts: a difference would leak a slot.
  const named = command.facts.keyIds.join() === command.keys.map(({ id }) => id).join()
  assert(named, 'a hold names the keys that it is counted at')
  checkLimits(command)
}

function links(records: Records, command: Admit, nowMs: number): readonly Link[] {
  const chain: Link[] = []
  for (const facts of command.keys) {
    const key = records.keys.get(facts.id)
    if (key)
      chain.push({ facts, key: facts.limits?.length ? { ...key, meters: metersOf(facts.limits, key, nowMs) } : key })
  }
  return chain
}

function load(records: Records, command: Admit): AdmitReply {
  const keys = command.keys.filter(({ id }) => !records.keys.has(id)).map(({ id }) => id)
  assert(!records.account || keys.length > 0, 'something is missing where something is to be loaded')
  return { code: 'load', account: !records.account, keys }
}

/** A copy of a key that is older or newer than the record, or a revoked key; leaf first. */
function staleKey(chain: readonly Link[]): AdmitReply | undefined {
  for (const { facts, key } of chain) {
    if (facts.version < key.version) return { code: 'key_changed', keyId: key.id }
    if (behind({ facts, key })) {
      return { code: 'load', account: false, keys: chain.filter(behind).map((link) => link.key.id) }
    }
    if (key.status !== 'active') return { code: 'denied', what: 'key' }
  }
  return undefined
}

/** The record is older than the caller's copy, or lacks a counter of a budget: guessing zero would open the budget. */
function behind({ facts, key }: Link): boolean {
  if (facts.version !== key.version) return facts.version > key.version
  return facts.budgets.some((budget) => !key.windows.some(({ window }) => window === budget.window))
}

function reachedLimit(chain: readonly Link[], command: Admit, nowMs: number): AdmitReply | undefined {
  assert(
    chain.every(({ key }) => key.status === 'active'),
    'limits are checked of active keys',
  )
  const left = tightest(candidates(chain, nowMs), nowMs)
  const full = fullMeter(chain, command, nowMs)
  if (full) return { code: 'limit', ...left, ...full }
  for (const { facts, key } of chain) {
    const refused = { code: 'limit', keyId: key.id, ...left } as const
    if (facts.concurrency !== undefined && key.inFlight >= facts.concurrency) {
      return { ...refused, what: 'concurrency', limit: facts.concurrency, retryMs: concurrencyRetryMs }
    }
    if (facts.requestsPerMinute !== undefined) {
      const { retryMs, ...requests } = requestsOf(key, facts.requestsPerMinute, nowMs)
      if (retryMs > 0) return { ...refused, what: 'requests', limit: requests.limit, retryMs, requests }
    }
    const budget = brokenBudget({ key, budgets: facts.budgets }, command.estimate, nowMs)
    if (budget) {
      const retryMs = budget.window === 'total' ? 0 : periodEnd(budget.window, nowMs) - nowMs
      return { ...refused, what: 'budget', limit: budget.limit, retryMs }
    }
  }
  return undefined
}

/** Every limit of requests and tokens in the chain, leaf first. */
function candidates(chain: readonly Link[], nowMs: number): readonly Candidate[] {
  const all: Candidate[] = []
  for (const { facts, key } of chain) {
    if (facts.requestsPerMinute !== undefined) {
      const { limit, remaining, resetMs } = requestsOf(key, facts.requestsPerMinute, nowMs)
      all.push({ of: 'requests', left: { limit, remaining, resetMs } })
    }
    if (facts.limits?.length) all.push(...(key.meters ?? []))
  }
  return all
}

function admitted(
  found: { account: AccountRecord; chain: readonly Link[]; drawn: Drawn },
  command: Admit,
  nowMs: number,
): Decision<Admit> {
  const { account, chain, drawn } = found
  const busy = chain.map(({ facts, key }) => ({
    facts,
    key: occupy(withCounted({ facts, key }, command), command.estimate, { limit: facts.requestsPerMinute, nowMs }),
  }))
  assert(busy.length === command.keys.length, 'a hold is counted at every key of its chain')
  const available = drawn.available - sumMoney(drawn.parts)
  assert(available <= drawn.available, 'a hold makes nothing available')
  return {
    reply: { code: 'ok', parts: drawn.parts, ...tightest(candidates(busy, nowMs), nowMs), available },
    account: setAside(account, drawn.parts),
    keys: busy.map(({ key }) => key),
    hold: newHold(command, drawn, nowMs),
  }
}

/** A call counts once against requests, and by its estimate against tokens. */
function withCounted({ facts, key }: Link, command: Admit): KeyRecord {
  if (!facts.limits?.length || !key.meters) return key
  return { ...key, meters: key.meters.map((meter) => counted(meter, amountOf(meter, command))) }
}

function newHold(command: Admit, drawn: Drawn, nowMs: number): HoldRecord {
  const budgets: readonly KeyBudgets[] = command.keys
    .filter((key) => key.budgets.length > 0)
    .map((key) => ({ keyId: key.id, budgets: key.budgets }))
  return {
    id: command.id,
    state: 'held',
    facts: command.facts,
    parts: drawn.parts,
    estimate: command.estimate,
    ...(budgets.length > 0 && { budgets }),
    ...(limitsTokens(command.keys) && { reserved: { tokens: command.tokens ?? 0, atMs: nowMs } }),
    metered: command.metered,
    dueMs: nowMs + command.termMs,
  }
}
