import type { Call, JsonObject } from '../core/call.ts'

/** Where the items of a stream are told: each begins at a place of its own, and leaves there what it has become. */
export interface Output {
  readonly call: Call
  /** The place of a new item. */
  place(): number
  send(type: string, fields: JsonObject): void
  done(index: number, item: JsonObject): void
}
