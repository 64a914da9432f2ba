import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { argumentsText, isObject, stringOf } from '../core/wire.ts'

/** Puts the pieces of tool calls together. Vendors use indexes and ids in many ways; see `find`. */
export interface ToolCalls {
  add(piece: JsonObject): void
  /** The whole calls, in the order of their indexes, or of their coming where indexes say nothing. */
  list(): readonly JsonObject[]
}

/** SDKs read up to 128. */
const maxCalls = 1024

interface Called {
  readonly index: number
  id: string
  type: string
  name: string
  /** `arguments` of a function, `input` of a custom tool; in pieces, because there may be thousands. */
  readonly text: string[]
  /** The member that holds name and text. */
  kind: 'function' | 'custom'
  readonly inner: Map<string, Json>
  readonly outer: Map<string, Json>
}

const ownOuter: ReadonlySet<string> = new Set(['index', 'id', 'type', 'function', 'custom'])
const ownInner: ReadonlySet<string> = new Set(['name', 'arguments', 'input'])

export function createToolCalls(): ToolCalls {
  const calls: Called[] = []
  return {
    add(piece) {
      const called = find(calls, piece) ?? begin(calls, piece)
      extend(called, piece)
    },
    list: () => calls.toSorted((a, b) => a.index - b.index).map(callOf),
  }
}

function innerOf(piece: JsonObject): JsonObject {
  const { function: named, custom } = piece
  return isObject(named) ? named : isObject(custom) ? custom : {}
}

/**
 * The call that a piece continues; undefined where it begins one.
 * - The same id is the same call, whatever the index says.
 * - The same index is the same call, unless a new id comes with a name: some vendors give every call the index 0.
 *   A new id without a name is a continuation: some vendors make up an id for each piece.
 * - Without index and id a piece continues the last call, unless it brings a name and the last one is complete.
 */
function find(calls: readonly Called[], piece: JsonObject): Called | undefined {
  const id = stringOf(piece['id'])
  const name = stringOf(innerOf(piece)['name'])
  const index = piece['index']
  const sameId = id === '' ? undefined : calls.findLast((call) => call.id === id)
  if (sameId) return sameId
  if (typeof index === 'number') {
    const sameIndex = calls.findLast((call) => call.index === index)
    const begins = sameIndex !== undefined && id !== '' && sameIndex.id !== '' && name !== ''
    return begins ? undefined : sameIndex
  }
  const last = calls.at(-1)
  if (!last || (id !== '' && (last.id !== '' || name !== ''))) return undefined
  return name !== '' && last.name !== '' && isComplete(last) ? undefined : last
}

function isComplete({ text }: Called): boolean {
  try {
    JSON.parse(text.join(''))
    return true
  } catch {
    return false // Arguments that do not parse yet are still coming.
  }
}

function begin(calls: Called[], piece: JsonObject): Called {
  if (calls.length >= maxCalls)
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxCalls} tool calls.`)
  const index = typeof piece['index'] === 'number' ? piece['index'] : calls.length
  const kind = isObject(piece['custom']) ? 'custom' : 'function'
  const called: Called = { index, id: '', type: '', name: '', text: [], kind, inner: new Map(), outer: new Map() }
  calls.push(called)
  return called
}

function extend(called: Called, piece: JsonObject): void {
  const inner = innerOf(piece)
  called.id ||= stringOf(piece['id'])
  called.type ||= stringOf(piece['type'])
  const name = stringOf(inner['name'])
  // A name may come in pieces before the arguments; one that is repeated with them is not another piece.
  if (called.text.length === 0 && name !== called.name) called.name += name
  const text = argumentsText(inner['arguments']) + stringOf(inner['input'])
  if (text !== '') called.text.push(text)
  keep(called.outer, piece, ownOuter)
  keep(called.inner, inner, ownInner)
}

/** Fields that we do not know: texts go on, of the rest the last one stands. */
function keep(kept: Map<string, Json>, from: JsonObject, known: ReadonlySet<string>): void {
  for (const [name, value] of Object.entries(from)) {
    if (value === undefined || value === null || known.has(name)) continue
    const old = kept.get(name)
    kept.set(name, typeof old === 'string' && typeof value === 'string' ? old + value : value)
  }
}

function callOf({ id, type, name, text, kind, inner, outer }: Called): JsonObject {
  const whole = { name, ...Object.fromEntries(inner), [kind === 'custom' ? 'input' : 'arguments']: text.join('') }
  return { id, type: type || kind, ...Object.fromEntries(outer), [kind]: whole }
}
