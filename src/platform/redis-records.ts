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
import type { UsageRecord } from '../core/call.ts'
import { parseJson } from './bigint-json.ts'
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

/** The epoch and run id that a cell's mark names. */
export function unpackMark(bytes: Buffer): { readonly epoch: number; readonly runId: string } {
  return { epoch: bytes.readDoubleBE(0), runId: bytes.toString('latin1', 8) }
}

/** The account, or undefined where the record is one of another epoch. */
export function unpackAccount(bytes: Buffer, id: number, epoch: number): AccountRecord | undefined {
  const read = openReader(bytes)
  if (read.number() !== epoch) return undefined
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
  if (read.number() !== epoch) return undefined
  const status = read.byte() === 0 ? 'active' : 'revoked'
  const [version = 0, inFlight = 0, held = 0] = read.numbers(3)
  const isLimited = read.byte() === 1
  const [requestsLeft = 0, requestsAtMs = 0] = read.numbers(2)
  const windows = Array.from({ length: read.byte() }, () => unpackWindow(read.numbers(3)))
  return {
    id,
    status,
    version,
    inFlight,
    held: BigInt(held),
    windows,
    ...(isLimited && { requestsLeft, requestsAtMs }),
  }
}

function unpackWindow([code = 0, period = 0, spent = 0]: readonly number[]): WindowRecord {
  return { window: windowNames.get(code) ?? 'total', period, spent: BigInt(spent) }
}

/** A hold as the engine knows it. */
export function unpackHold(bytes: Buffer, id: string): HoldRecord {
  const read = openReader(bytes)
  const state = stateOf(read.letter())
  const recovered = read.byte() === 1
  const [, , dueMs = 0, estimate = 0] = read.numbers(4)
  const started = read.byte() === 1
  const [inputTokens = 0, outputTokens = 0] = read.numbers(2)
  read.byte()
  read.numbers(3)
  const labels = parseJson(read.text()) as Omit<Metered, 'started' | 'inputTokens' | 'outputTokens'>
  const { facts, parts, budgets } = unpackBody(read.bytes())
  const record = read.text()
  return {
    id,
    state,
    facts,
    parts,
    estimate: BigInt(estimate),
    ...(budgets.length > 0 && { budgets }),
    metered: { started, inputTokens, outputTokens, ...labels },
    dueMs,
    ...(record !== '' && { record: parseJson(record) as UsageRecord }),
    ...(recovered && { recovered }),
  }
}

function unpackBody(bytes: Buffer): Pick<HoldRecord, 'facts' | 'parts'> & { budgets: readonly KeyBudgets[] } {
  const read = openReader(bytes)
  const keys = read.byte()
  const [parts, budgets] = [read.short(), read.short()]
  read.numbers(keys)
  const [partNumbers, budgetNumbers] = [read.numbers(parts), read.numbers(budgets)]
  const facts = parseJson(read.rest()) as HoldFacts
  return { facts, parts: unpackParts(partNumbers), budgets: unpackBudgets(budgetNumbers, facts.keyIds) }
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
    const keyId = keyIds[place - 1] ?? 0
    const ofKey = budgets.get(keyId) ?? []
    ofKey.push({ limit: BigInt(limit), window: windowNames.get(code) ?? 'total' })
    budgets.set(keyId, ofKey)
  }
  return [...budgets].map(([keyId, ofKey]) => ({ keyId, budgets: ofKey }))
}

interface Reader {
  byte(): number
  short(): number
  number(): number
  numbers(count: number): number[]
  letter(): string
  /** Its length comes first. */
  bytes(): Buffer
  text(): string
  /** All that is left, as text. */
  rest(): string
}

function openReader(bytes: Buffer): Reader {
  let at = 0
  const take = (length: number): number => {
    at += length
    return at - length
  }
  const number = () => bytes.readDoubleBE(take(8))
  const part = () => {
    const length = bytes.readUInt32BE(take(4))
    return bytes.subarray(take(length), at)
  }
  return {
    byte: () => bytes.readUInt8(take(1)),
    short: () => bytes.readUInt16BE(take(2)),
    number,
    numbers: (count) => Array.from({ length: count }, number),
    letter: () => bytes.toString('latin1', take(1), at),
    bytes: part,
    text: () => part().toString(),
    rest: () => bytes.toString('utf8', at),
  }
}
