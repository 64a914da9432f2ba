import type { Part } from '../../core/call.ts'
import { assert } from './assert.ts'
import type { AccountRecord, HoldRecord, KeyRecord } from './records.ts'

/** What is true of every record after every command. Throws LedgerAssertion where it is not. */

/** Purses on loan at once, under one epoch: far above what any account has, so more is a leak. */
export const maxPurses = 256
/** Purses that the books no longer list and that are remembered because they were used; the rest is for those listed. */
export const maxKept = 128
/** Loans that one hold stands on: each extension may add one of each purse that was lent on anew since. */
export const maxParts = 512
/** Keys above a call, its own included, and the counters of the account. */
export const maxChain = 9
/** Further limits of one key: requests and tokens in four windows each. */
export const maxLimits = 8

/** No id comes twice. */
export function areDistinct(ids: readonly number[]): boolean {
  return ids.length < 2 || new Set(ids).size === ids.length
}

export function checkAccount(account: AccountRecord): void {
  assert(account.purses.length <= maxPurses, 'an account has a bounded number of purses')
  assert(areDistinct(account.purses.map(({ id }) => id)), 'a purse is listed once')
  for (const purse of account.purses) {
    assert(purse.held >= 0n, 'a purse cannot hold less than nothing')
    assert(purse.lent >= 0n, 'a loan cannot be negative')
    assert(purse.available + purse.held <= purse.lent, 'a purse cannot have more than it was lent')
  }
}

export function checkKey(key: KeyRecord): void {
  assert(Number.isSafeInteger(key.inFlight) && key.inFlight >= 0, 'calls in flight are a whole number, zero or more')
  assert(key.held >= 0n, 'a key cannot hold less than nothing')
  assert(key.inFlight > 0 || key.held === 0n, 'a key without calls in flight holds nothing')
  assert(key.requestsLeft === undefined || key.requestsLeft >= 0, 'a request bucket cannot go below empty')
  assert((key.meters?.length ?? 0) <= maxLimits, 'the limits of a key are bounded')
  for (const { used, rest } of key.meters ?? [])
    assert(used >= 0 && rest >= 0, 'a meter cannot count less than nothing')
}

export function checkHold(hold: HoldRecord): void {
  assert(hold.estimate >= 0n, 'an estimate cannot be negative')
  assert(Number.isFinite(hold.dueMs), 'a hold has a deadline')
  assert(hold.facts.keyIds.length <= maxChain, 'the chain of keys is bounded')
  assert(hold.parts.length <= maxParts, 'a hold stands on a bounded number of loans')
  assert(distinct(hold.parts), 'a hold has one part for each loan of a purse')
  assert(
    hold.parts.every((part) => part.amount > 0n),
    'a part sets something aside',
  )
  assert(isWithin(hold.own ?? [], hold.parts), 'what is set aside here is of the parts')
  const charged = hold.state === 'settled' || hold.state === 'reaped'
  assert(!charged || hold.record !== undefined, 'a charged hold keeps its record')
  assert(hold.state !== 'held' || hold.record === undefined, 'a live hold has no record yet')
}

function isWithin(own: readonly Part[], parts: readonly Part[]): boolean {
  if (!distinct(own)) return false
  return own.every(({ purse, lease, amount }) => {
    const part = parts.find((each) => each.purse === purse && each.lease === lease)
    return part !== undefined && amount > 0n && amount <= part.amount
  })
}

function distinct(parts: readonly Part[]): boolean {
  if (parts.length < 2) return true
  return new Set(parts.map((part) => `${part.purse}/${part.lease}`)).size === parts.length
}
