import type { Target } from '../core/call.ts'
import type { Catalog, Model } from '../core/catalog.ts'
import { type Decayed, meanOf } from '../core/decayed.ts'
import { drawOf } from '../core/draw.ts'
import { GatewayError } from '../core/errors.ts'
import { promptOf } from '../core/prompt.ts'
import {
  defaultRouting,
  type KeyClass,
  type KeyRouting,
  type RoutingPolicy,
  targetName,
  type Weights,
} from '../core/routing.ts'
import { type Asked, isNamed, refusalOf } from './eligible.ts'
import { expectedCost } from './expected.ts'
import type { TargetHealth } from './health.ts'
import { rank, type Scored, settle, type Standing, tolerance, weightsOf, worthALook } from './score.ts'
import type { KeyWanted } from './vendor-keys.ts'

/** The targets of a model that can be called at all: those whose vendor has a key. */
export function liveTargets(catalog: Catalog, model: Model): readonly Target[] {
  const live = model.targets.filter((target) => (catalog.vendors.get(target.vendor)?.apiKeys.length ?? 0) > 0)
  if (live.length === 0) throw notSetUp(model)
  return live
}

export function notSetUp(model: Model): GatewayError {
  return new GatewayError(
    'no_target_available',
    `Model "${model.name}" has no vendor that is set up. Its operator must give a vendor key.`,
  )
}

/** What of the world decides a route; nothing else does. */
export interface Sight {
  health(target: Target): TargetHealth
  /** Whether a vendor key of the call's class is free. */
  keys(wanted: KeyWanted): {
    readonly isReady: boolean
    readonly why?: string
    readonly retryInMs: number
    /** Of the vendor's limits, the share that is left; absent: nobody has said. */
    readonly quota?: number
  }
  /** Where this session, or the model's last call, was served. */
  readonly before: string | undefined
  /** Output tokens that the call is expected to have. */
  readonly outputTokens: number
  /** From 0 up to 1, one for each decision that is left to chance. */
  readonly draws: { readonly order: number; readonly canary: number; readonly explore: number; readonly which: number }
}

export interface RouteRequest extends Omit<Asked, 'prompt'> {
  readonly keyClass: KeyClass
  /** What the call has in common with others, see affinity.ts. */
  readonly affinity: string | undefined
  /** What the caller's key says of his calls. */
  readonly preference?: KeyRouting | undefined
}

/** One target, and what was made of it. */
export interface Considered {
  readonly target: Target
  readonly name: string
  /** It may be tried: at once, or where nothing else is left. */
  readonly isReady: boolean
  readonly state: TargetHealth['state']
  readonly score?: number
  /** Why it is not tried, or not before the others. */
  readonly why?: string
  readonly retryInMs: number
  /** Of the vendor's limits, the share that is left. */
  readonly quota?: number
}

export interface Route {
  /** Best first; those that are not ready come last. */
  readonly targets: readonly Considered[]
  /** Out of the question, each with its reason. */
  readonly refused: readonly Considered[]
}

/** Puts the targets of a model in order for a call. The same request and sight always give the same route. */
export function route(request: RouteRequest, sight: Sight): Route {
  const policy = policyOf(request)
  const prompt = once(() => promptOf(request.call))
  const looked = request.model.targets.map((target): Considered => look({ ...request, prompt }, sight, target))
  const possible = looked.filter(({ retryInMs }) => retryInMs !== Infinity)
  const ready = possible.filter(({ isReady }) => isReady)
  const waiting = possible.filter(({ isReady }) => !isReady)
  const scored = ordered(ready, { request, sight, policy, promptBound: () => prompt().upperBound })
  const best: Considered[] = []
  for (const { standing, score } of scored) {
    const considered = ready.find(({ name }) => name === standing.name)
    if (considered) best.push({ ...considered, score })
  }
  const targets = wished([...best, ...waiting.toSorted((a, b) => a.retryInMs - b.retryInMs)], request)
  return { targets, refused: looked.filter(({ retryInMs }) => retryInMs === Infinity) }
}

/** The model's policy, with what the caller's key says of it, and the strategy that he asks for. */
export function policyOf({
  model,
  wish,
  preference,
}: Pick<RouteRequest, 'model' | 'wish' | 'preference'>): RoutingPolicy {
  const own = model.routing ?? defaultRouting
  const policy = preference ? preferred(own, preference) : own
  return wish.strategy === undefined ? policy : { ...policy, strategy: wish.strategy }
}

function preferred(policy: RoutingPolicy, { weights, strategy = weights && 'score' }: KeyRouting): RoutingPolicy {
  return { ...policy, ...(strategy !== undefined && { strategy }), ...(weights !== undefined && { weights }) }
}

function look(asked: Asked & Pick<RouteRequest, 'keyClass'>, sight: Sight, target: Target): Considered {
  const name = targetName(target)
  const { state, isReady, retryInMs } = sight.health(target)
  const entry = asked.catalog.vendors.get(target.vendor)
  const never = (why: string): Considered => ({ target, name, isReady: false, state, why, retryInMs: Infinity })
  const refusal = refusalOf(asked, target)
  if (refusal !== undefined || !entry) return never(refusal ?? 'vendor_off')
  const parameter = asked.refuses(target)
  // Its refusal costs nothing and names the parameter: that is told where no other target can do better.
  if (parameter !== undefined)
    return { target, name, isReady: false, state, why: `parameter ${parameter}`, retryInMs: Number.MAX_SAFE_INTEGER }
  const keys = sight.keys({ entry, target, keyClass: asked.keyClass })
  if (keys.why === 'no_key') return never('no_key')
  const why = isReady ? keys.why : state === 'open' ? 'circuit_open' : 'probing'
  const wait = Math.max(retryInMs, keys.retryInMs)
  return {
    target,
    name,
    isReady: isReady && keys.isReady,
    state,
    ...(why !== undefined && { why }),
    retryInMs: wait,
    ...(keys.quota !== undefined && keys.quota < 1 && { quota: keys.quota }),
  }
}

interface Ordering {
  readonly request: RouteRequest
  readonly sight: Sight
  readonly policy: RoutingPolicy
  promptBound(): number
}

function ordered(ready: readonly Considered[], ordering: Ordering): readonly Scored[] {
  const { policy, sight, request } = ordering
  const scoring = weightsOf(policy.strategy, policy.weights)
  const standings = ready.length < 2 ? ready.map(bare(request)) : standingsOf(ready, ordering)
  // A session keeps its place under chance too.
  const draw = request.affinity === undefined ? sight.draws.order : drawOf(request.affinity)
  const ranked = rank(standings, { strategy: policy.strategy, weights: policy.weights, draw })
  if (ranked.length < 2) return ranked
  const settled = scoring ? explored(steady(ranked, ordering, scoring), ordering, scoring) : ranked
  return withCanary(settled, ordering)
}

function steady(ranked: readonly Scored[], { sight, request }: Ordering, scoring: Weights): readonly Scored[] {
  return settle(ranked, { within: tolerance(scoring), before: sight.before, affinity: request.affinity })
}

/** Now and then a call goes where it may turn out to be better by now: else a target that has recovered is never seen. */
function explored(ranked: readonly Scored[], ordering: Ordering, scoring: Weights): readonly Scored[] {
  const { policy, sight, request } = ordering
  // A session that has begun would lose its place in a vendor's cache.
  if (request.affinity !== undefined && sight.before !== undefined) return ranked
  if (sight.draws.explore * 100 >= policy.explorePercent) return ranked
  const chosen = worthALook(ranked, scoring, sight.draws.which)
  return chosen ? [chosen, ...ranked.filter((other) => other !== chosen)] : ranked
}

/** The canary gets its share and nothing else, but for what nobody else can answer. */
function withCanary(ranked: readonly Scored[], { policy: { canary }, request, sight }: Ordering): readonly Scored[] {
  if (!canary) return ranked
  const isCanary = ({ standing }: Scored): boolean => {
    const target = request.model.targets[standing.position]
    return target !== undefined && isNamed(target, canary.target)
  }
  const draw = request.affinity === undefined ? sight.draws.canary : drawOf(`canary ${request.affinity}`)
  const [birds, others] = [ranked.filter(isCanary), ranked.filter((one) => !isCanary(one))]
  return draw * 100 < canary.percent ? [...birds, ...others] : [...others, ...birds]
}

function bare({ model }: RouteRequest): (considered: Considered) => Standing {
  return ({ target, name }) => ({
    name,
    position: model.targets.indexOf(target),
    cost: undefined,
    timeMs: undefined,
    quality: 1,
    bestQuality: 1,
    inFlight: 0,
    weight: target.weight ?? 1,
  })
}

/** With what weight the others' share of cached prompts counts for a target that has seen few, in tokens. */
const sharedCacheTokens = 10_000
/** A target without a speed is taken to be as fast as this for each token. */
const usualTokenMs = 20

function standingsOf(ready: readonly Considered[], { request, sight, promptBound }: Ordering): readonly Standing[] {
  const { call, catalog, model } = request
  const seen = ready.map((considered) => ({ considered, health: sight.health(considered.target) }))
  // What one target has in its cache, another in its place would have too.
  const mean = meanOf(pooled(seen.map(({ health }) => health.cacheShare))) ?? 0
  const priced = ready.some(({ target }) => target.costs !== undefined)
  const currency = model.prices?.currency ?? 'USD'
  return seen.map(({ considered, health }) => {
    const { target, quota } = considered
    const mark = (target.quality ?? 100) / 100
    return {
      ...bare(request)(considered),
      cost: priced
        ? expectedCost(target, {
            call,
            promptBound: promptBound(),
            outputTokens: sight.outputTokens,
            cacheShare: meanOf(health.cacheShare, { mean, weight: sharedCacheTokens }) ?? 0,
            currency,
            exchange: catalog.exchange ?? [],
          })
        : undefined,
      timeMs: timeOf(health, call.stream ? sight.outputTokens : 0),
      quality: mark * (1 - health.errorRate) * (health.feedback ?? 1),
      bestQuality: mark,
      inFlight: health.inFlight,
      ...(quota !== undefined && { quota }),
    }
  })
}

/** Where the answer is one body, its first byte is its last: then the time until it says all. */
function timeOf({ firstContentMs, tokenMs }: TargetHealth, outputTokens: number): number | undefined {
  return firstContentMs === undefined ? undefined : firstContentMs + outputTokens * (tokenMs ?? usualTokenMs)
}

function pooled(all: readonly Decayed[]): Decayed {
  const weight = all.reduce((sum, one) => sum + one.weight, 0)
  return { weight, sum: all.reduce((sum, one) => sum + one.sum, 0), atMs: 0 }
}

/** What the caller names comes first, in his order; whatever is not ready still comes after all that is. */
function wished(targets: readonly Considered[], { wish }: RouteRequest): readonly Considered[] {
  if (wish.order.length === 0) return targets
  const place = ({ target }: Considered): number => {
    const at = wish.order.findIndex((name) => isNamed(target, name))
    return at === -1 ? wish.order.length : at
  }
  return targets.toSorted((a, b) => Number(b.isReady) - Number(a.isReady) || place(a) - place(b))
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => (made ??= { value: make() }).value
}
