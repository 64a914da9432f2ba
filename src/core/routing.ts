import type { GatewayError } from './errors.ts'
import type { Counts } from './price.ts'
import type { Target } from './call.ts'
import { onceForLasting } from './once-for.ts'

/** How the targets of a model are put in order. `priority` is the order of the list. */
export const strategies = ['priority', 'score', 'cost', 'latency', 'quality', 'weighted', 'least-busy'] as const
export type Strategy = (typeof strategies)[number]

/** What counts how much in a score: whole numbers from 0, of which at least one is above. */
export interface Weights {
  readonly cost: number
  readonly performance: number
  readonly quality: number
}

/** A share of the calls for one target, which is named `vendor/model`. */
export interface Portion {
  readonly target: string
  /** From 0 to 100. */
  readonly percent: number
}

/** What an operator may decide about who serves a model. */
export interface RoutingPolicy {
  readonly strategy: Strategy
  /** Used by `score` alone. */
  readonly weights: Weights
  /** This share of the calls, and no other, is tried at this target first. */
  readonly canary?: Portion
  /** This share of the calls is sent to this target too; nobody sees its answers and no customer pays for them. */
  readonly mirror?: Portion
  /** Of the calls, tried at a target that may have become better than the one chosen; from 0 to 100. */
  readonly explorePercent: number
  /** Rounds over the targets after the first one, with pauses between them. */
  readonly retries: number
  /** Without content for so long, a second target is asked beside the first. Absent: never. */
  readonly hedgeMs?: number
  /** A first content that takes longer is slow, and slow calls open the circuit. Absent: ten times what is usual. */
  readonly slowMs?: number
  /** Public models that stand in, in this order, where no target of this one answers. */
  readonly fallbacks: readonly string[]
}

/** What a key says of its calls, over what their models say. Weights alone ask for the strategy `score`. */
export interface KeyRouting {
  readonly strategy?: Strategy
  readonly weights?: Weights
}

/** The list's order, and one try of each target: callers' SDKs retry, and two layers that do multiply. */
export const defaultRouting: RoutingPolicy = Object.freeze({
  strategy: 'priority',
  weights: Object.freeze({ cost: 40, performance: 30, quality: 30 }),
  explorePercent: 1,
  retries: 0,
  fallbacks: Object.freeze([]),
})

/** What the caller wants of the routing, read and bounded. */
export interface Wish {
  /** Public models to ask for where the one named does not answer. */
  readonly models: readonly string[]
  /** Vendors, or targets as `vendor/model`, to try before all others. */
  readonly order: readonly string[]
  /** None but these, where there are any. */
  readonly only: readonly string[]
  readonly ignore: readonly string[]
  readonly region?: string
  /** In place of the model's own strategy. */
  readonly strategy?: Strategy
  /** Nano-units per million tokens that the account pays at most. */
  readonly maxPrice: { readonly prompt?: bigint; readonly completion?: bigint }
  /** What keeps calls together: a session's name. */
  readonly session?: string
  /** Which vendor keys may be used: those classed for this scenario, and those for all. */
  readonly scenario?: string
  /** The answer says how its target was chosen. */
  readonly explain: boolean
}

export const keyPriorities = ['vip', 'normal', 'test'] as const
export type KeyPriority = (typeof keyPriorities)[number]

/** Our credential at a vendor, and the calls that it is for. */
export interface VendorKey {
  /** Names it in logs and in the API; the secret does neither. */
  readonly id: string
  readonly secret: string
  /** Patterns of the vendor's model names; none: all. */
  readonly models: readonly string[]
  /** None: for every call; else for calls of one of these scenarios. */
  readonly scenarios: readonly string[]
  readonly priority: KeyPriority
  readonly region?: string
}

/** Whose calls a key is looked for. */
export interface KeyClass {
  readonly priority: KeyPriority
  readonly scenario?: string
}

/** Why a try came to nothing, as the figures of its target see it. */
export interface TryFailure {
  /** As in `VendorFailure`. */
  readonly fault: 'caller' | 'account' | 'busy' | 'down'
  readonly about?: 'key' | 'model' | 'sealed'
  readonly code: string
  /** 0 where none was seen. */
  readonly status: number
  readonly retryAfterMs?: number
}

/** A place that a call has taken at a target. It is given back by `failed`, `ended` or `left`, whichever comes first. */
export interface Place {
  readonly keyId: string
  readonly apiKey: string
  /** A first content that takes longer is slow; undefined where nobody can say. */
  readonly slowAfterMs: number | undefined
  /** The vendor's headers: they tell what is left of its limits. */
  heard(headers: Readonly<Record<string, string>>): void
  slow(): void
  /** The request goes out: from here on the vendor counts it too. */
  sent?(): void
  /** The first content is there. */
  answered(): void
  failed(failure: TryFailure): void
  /** The answer is whole. `paced`: nobody has kept the vendor from sending. */
  ended(said: { readonly counts?: Counts | undefined; readonly paced: boolean }): void
  /** We let go of it, and it is not the vendor's fault. */
  left(): void
}

export interface Enter {
  /** Keys that have failed this call already. */
  readonly without: ReadonlySet<string>
  /** No other target is left, so that an open circuit and a parked key are tried too. */
  readonly isLastResort: boolean
}

/** A target that a call may be tried at. */
export interface Candidate {
  readonly target: Target
  /** The public model that it would serve. */
  readonly model: string
  /** Undefined where it takes no call now. */
  enter(how: Enter): Place | undefined
  /** Why it took none when it was last asked, where the caller has something to learn from that. */
  refusal?(): GatewayError | undefined
}

/** Names a target in figures, logs and answers: `vendor/model`, with its region where it has one. */
export function targetName({ vendor, model, region }: Target): string {
  return region === undefined ? `${vendor}/${model}` : `${vendor}/${model}@${region}`
}

/** The keys of a vendor; those that are given as plain secrets are for every call and named by their place. */
export function keysOf(entry: KeyedEntry): readonly VendorKey[] {
  return entry.keys ?? plainKeys(entry.apiKeys)
}

const plainKeys = onceForLasting((secrets: readonly string[]): readonly VendorKey[] =>
  secrets.map((secret, at) => plainKey(`key-${at + 1}`, secret)),
)

export function plainKey(id: string, secret: string): VendorKey {
  return { id, secret, models: [], scenarios: [], priority: 'normal' }
}

interface KeyedEntry {
  readonly apiKeys: readonly string[]
  readonly keys?: readonly VendorKey[]
}
