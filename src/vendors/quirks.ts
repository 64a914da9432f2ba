import type { JsonObject } from '../core/call.ts'
import type { TroubleRule } from './failure.ts'
import type { InnerTraits } from './openai-inner.ts'
import type { EarlierReasoning } from './openai-messages.ts'
import type { VendorAccess } from './vendor.ts'

/** What sets one OpenAI-compatible vendor apart from the others. */
export interface Quirks extends InnerTraits, EarlierReasoning {
  readonly id: string
  /** Calls are recorded and priced but never charged. */
  readonly free?: true
  /** Where its chat completions are; `/chat/completions` under the base URL where absent. */
  url?(access: VendorAccess, model: string): string
  /** What carries the key in place of a bearer token. */
  keyHeaders?(apiKey: string): Readonly<Record<string, string>>
  /** Its own names of parameters, for callers of every dialect. */
  readonly renames?: Readonly<Record<string, string>>
  /** Its models think in the text, between `<think>` and `</think>`: told apart for callers of other dialects. */
  readonly thinksInText?: true
  /** It answers 400 to `stream_options`, so usage comes unasked or not at all. */
  readonly refusesStreamOptions?: true
  /** Fields of ours that this vendor understands itself. */
  readonly keeps?: readonly string[]
  /** It passes calls on to vendors of its own, and takes a `provider` that chooses among them. */
  readonly choosesVendors?: true
  /** Its own codes and words for what is wrong. */
  readonly troubles?: readonly TroubleRule[]
  /** An error that it puts into a good answer in a form of its own, as an object with `code` and `message`. */
  errorIn?(body: JsonObject): JsonObject | undefined
  /** Finish reasons that mean that the vendor failed in the middle of the answer. */
  readonly failedFinishes?: readonly string[]
  /** Calls that it refuses unless they stream. */
  streamOnly?(body: JsonObject, model: string): boolean
}
