import type { BudgetWindow, Part } from '../core/call.ts'
import { tokenAsset } from '../core/tokens.ts'
import type {
  AccountRecord,
  HoldFacts,
  HoldRecord,
  HoldState,
  KeyBudgets,
  KeyRecord,
  Metered,
  PurseRecord,
  WindowRecord,
} from '../ledger/engine/records.ts'
import type { Reserved } from '../core/rate-limit.ts'
import type { UsageRecord } from '../core/call.ts'
import { parseJson } from './bigint-json.ts'
import { unpackMeter } from './redis-meter-rules.ts'
import { windowCodes } from './redis-rules.ts'

/** Reads what the scripts have packed: see `redis-rules.ts` for the layouts. */

const windowNames = new Map<number, BudgetWindow>(
  (Object.keys(windowCodes) as BudgetWindow[]).map((name) => [windowCodes[name], name]),
)

const states: Readonly<Record<string, HoldState>> = { H: 'held', S: 'settled', V: 'voided', R: 'reaped' }

/** The state that a letter stands for. Throws RangeError for any other text. */
export function stateOf(letter: string | undefined): HoldState {
  const state = states[letter ?? '']
  if (!state) throw new RangeError(`no hold is in the state ${letter}`)
  return state
}

/** The letter of a state. */
export function letterOf(state: HoldState): string {
  return { held: 'H', settled: 'S', voided: 'V', reaped: 'R' }[state]
}

/** Numbers as the scripts read them: doubles, the lowest byte first. Amounts must be exact as doubles. */
export function packNumbers(numbers: readonly (number | bigint)[]): Buffer {
  const bytes = Buffer.allocUnsafe(8 * numbers.length)
  numbers.forEach((number, index) => bytes.writeDoubleLE(Number(number), 8 * index))
  return bytes
}

/** A cell's mark: an epoch, and the run id of the server that it holds on. */
export function packMark({ epoch, runId }: { readonly epoch: number; readonly runId: string }): Buffer {
  return Buffer.concat([packNumbers([epoch]), Buffer.from(runId, 'latin1')])
}

/** The name of a hold's texts, from that of its numbers. */
export function textKey(holdKey: string): string {
  return `t${holdKey.slice(1)}`
}

/** The epoch and run id that a cell's mark names. */
export function unpackMark(bytes: Buffer): { readonly epoch: number; readonly runId: string } {
  return { epoch: bytes.readDoubleLE(0), runId: bytes.toString('latin1', 8) }
}

/** The account, or undefined where the record is one of another epoch. */
export function unpackAccount(bytes: Buffer, id: number, epoch: number): AccountRecord | undefined {
  const read = openReader(bytes)
  if (read.numbers(1)[0] !== epoch) return undefined
  const status = read.byte() === 0 ? 'open' : 'stopped'
  const purses = Array.from({ length: read.short() }, () => unpackPurse(read.numbers(6)))
  return { id, epoch, status, purses }
}

function unpackPurse(numbers: readonly number[]): PurseRecord {
  const [id = 0, lease = 0, lent = 0, available = 0, held = 0, expiresAtMs = -1] = numbers
  return {
    id,
    lease,
    lent: BigInt(lent),
    available: BigInt(available),
    held: BigInt(held),
    ...(expiresAtMs >= 0 && { expiresAtMs }),
  }
}

/** The key's counters, or undefined where the record is one of another epoch. */
export function unpackKey(bytes: Buffer, id: number, epoch: number): KeyRecord | undefined {
  const read = openReader(bytes)
  if (read.numbers(1)[0] !== epoch) return undefined
  const status = read.byte() === 0 ? 'active' : 'revoked'
  const [version = 0, inFlight = 0, held = 0] = read.numbers(3)
  const isLimited = read.byte() === 1
  const [requestsLeft = 0, requestsAtMs = 0] = read.numbers(2)
  const meterCount = read.byte()
  const windows = Array.from({ length: read.byte() }, () => unpackWindow(read.numbers(3)))
  const meters = Array.from({ length: meterCount }, () => unpackMeter(read.numbers(5)))
  return {
    id,
    status,
    version,
    inFlight,
    held: BigInt(held),
    windows,
    ...(isLimited && { requestsLeft, requestsAtMs }),
    ...(meterCount > 0 && { meters }),
  }
}

function unpackWindow([code = 0, period = 0, spent = 0]: readonly number[]): WindowRecord {
  return { window: windowNames.get(code) ?? 'total', period, spent: BigInt(spent) }
}

/** A hold as the engine knows it, from its numbers and its texts. */
export function unpackHold(bytes: Buffer, texts: Buffer, id: string): HoldRecord {
  const read = openReader(bytes)
  const state = stateOf(read.letter())
  const flags = read.byte()
  read.numbers(2)
  const [keys, budgets, parts, factsLength] = [read.byte(), read.short(), read.short(), read.long()]
  const started = read.byte() === 1
  const [inputTokens = 0, outputTokens = 0, dueMs = 0, estimate = 0] = read.numbers(4)
  read.byte()
  read.numbers(3 + keys)
  const lists = { budgets: read.numbers(budgets), parts: unpackParts(read.numbers(parts)) }
  const own = flags > 1 ? unpackOwn(lists.parts, read.numbers(parts / 4)) : undefined
  const labels = parseJson(read.rest()) as Omit<Metered, 'started' | 'inputTokens' | 'outputTokens'>
  const facts = parseJson(texts.toString('utf8', 0, factsLength)) as HoldFacts
  const record = texts.toString('utf8', factsLength)
  const ofKeys = unpackBudgets(lists.budgets, facts.keyIds)
  return {
    id,
    state,
    facts,
    parts: lists.parts,
    estimate: BigInt(estimate),
    ...(ofKeys.length > 0 && { budgets: ofKeys }),
    ...unpackReserved(lists.budgets),
    metered: { started, inputTokens, outputTokens, ...labels },
    dueMs,
    ...(record !== '' && { record: parseJson(record) as UsageRecord }),
    ...(flags % 2 === 1 && { recovered: true }),
    ...(own && { own }),
  }
}

function unpackOwn(parts: readonly Part[], amounts: readonly number[]): readonly Part[] {
  return parts
    .map((part, index) => ({ ...part, amount: BigInt(amounts[index] ?? 0) }))
    .filter(({ amount }) => amount > 0n)
}

/** Parts from four numbers each: purse, lease, amount, and 1 for tokens. */
export function unpackParts(numbers: readonly number[]): readonly Part[] {
  const parts: Part[] = []
  for (let at = 0; at < numbers.length; at += 4) {
    const [purse = 0, lease = 0, amount = 0, asset = 0] = numbers.slice(at, at + 4)
    parts.push({ purse, lease, amount: BigInt(amount), ...(asset === 1 && { asset: tokenAsset }) })
  }
  return parts
}

/** Three numbers each: the key's place in the chain from 1, the window, the limit. */
function unpackBudgets(numbers: readonly number[], keyIds: readonly number[]): readonly KeyBudgets[] {
  const budgets = new Map<number, KeyBudgets['budgets'][number][]>()
  for (let at = 0; at < numbers.length; at += 3) {
    const [place = 1, code = 0, limit = 0] = numbers.slice(at, at + 3)
    if (place === 0) continue
    const keyId = keyIds[place - 1] ?? 0
    const ofKey = budgets.get(keyId) ?? []
    ofKey.push({ limit: BigInt(limit), window: windowNames.get(code) ?? 'total' })
    budgets.set(keyId, ofKey)
  }
  return [...budgets].map(([keyId, ofKey]) => ({ keyId, budgets: ofKey }))
}

/** In the place of no key: when tokens were reserved, and how many. */
function unpackReserved(numbers: readonly number[]): { reserved?: Reserved } {
  const [place, atMs = 0, tokens = 0] = numbers.slice(-3)
  return place === 0 ? { reserved: { tokens, atMs } } : {}
}

interface Reader {
  byte(): number
  short(): number
  long(): number
  numbers(count: number): number[]
  letter(): string
  /** All that is left, as text. */
  rest(): string
}

function openReader(bytes: Buffer): Reader {
  let at = 0
  const take = (length: number): number => {
    at += length
    return at - length
  }
  return {
    byte: () => bytes.readUInt8(take(1)),
    short: () => bytes.readUInt16LE(take(2)),
    long: () => bytes.readUInt32LE(take(4)),
    numbers: (count) => Array.from({ length: count }, () => bytes.readDoubleLE(take(8))),
    letter: () => bytes.toString('latin1', take(1), at),
    rest: () => bytes.toString('utf8', at),
  }
}
