import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'

/**
 * Puts the pieces of `reasoning_details` together. A vendor will only take back in the next turn what it has said
 * itself, so each item must be whole, and every string in it as it came.
 */
export interface ReasoningDetails {
  add(piece: JsonObject): void
  /** The whole items, in the order of their coming. */
  list(): readonly JsonObject[]
}

/** Thinking between tool calls has some dozens of items; one that comes in pieces is one item. */
const maxItems = 4096
/** Fields of an item that come in pieces. */
const texts: ReadonlySet<string> = new Set(['text', 'summary', 'data'])

type Item = Map<string, Json>

export function createReasoningDetails(): ReasoningDetails {
  const items: Item[] = []
  return {
    add(piece) {
      const item = find(items, piece) ?? begin(items)
      for (const [name, value] of Object.entries(piece)) extend(item, name, value)
    },
    list: () => items.map((item) => Object.fromEntries(item)),
  }
}

/** The item that a piece continues: one of its index and type. What has no index is an item of its own. */
function find(items: readonly Item[], piece: JsonObject): Item | undefined {
  const { index, type } = piece
  if (typeof index !== 'number') return undefined
  return items.findLast((item) => item.get('index') === index && item.get('type') === type)
}

function begin(items: Item[]): Item {
  if (items.length >= maxItems)
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxItems} parts of reasoning.`)
  const item: Item = new Map()
  items.push(item)
  return item
}

function extend(item: Item, name: string, value: Json | undefined): void {
  if (value === undefined) return
  const old = item.get(name)
  if (texts.has(name) && typeof old === 'string' && typeof value === 'string') item.set(name, old + value)
  else if (old === undefined || old === null || old === '') item.set(name, value)
}
