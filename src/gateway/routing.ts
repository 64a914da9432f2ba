import type { Call, Caller, Target } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import { priceOf, type PriceSet } from '../core/price.ts'
import { promptOf } from '../core/prompt.ts'
import type { Candidate, KeyPriority, RoutingPolicy, Wish } from '../core/routing.ts'
import { serviceTierOf } from '../core/wire.ts'
import { mayUse } from '../auth/access.ts'
import type { Answered } from '../call/attempt.ts'
import { pinPrices } from '../ledger/prices.ts'
import { quote } from '../ledger/size.ts'
import { type Considered, notSetUp, policyOf } from '../route/route.ts'
import { vendors } from '../vendors/index.ts'
import { parameterTables } from '../vendors/parameter-tables.ts'
import { checkParameters } from '../vendors/parameters.ts'
import { modelFor, type Asked } from './asking.ts'
import { findModel } from './catalog.ts'
import type { Gateway } from './gateway.ts'
import { readWish } from './wishes.ts'

/** Models that a call may be served by, with those that stand in. */
const maxModelsTried = 16
/** Targets that an explanation lists. */
const maxExplained = 16

/** Where a call may be served, and by whose prices it is held. */
export interface CallRoute {
  /** Best first, those of the model that was asked for before those that stand in for it. */
  readonly candidates: readonly Candidate[]
  /** The dearest of the models that the caller has named: its price is pinned, and a cheaper one that serves pays its own. */
  readonly payer: Model
  readonly policy: RoutingPolicy
  /** What an answer has to say about it: where the caller has asked how it came about. */
  readonly explained: string | undefined
  readonly mirror: Candidate | undefined
}

/** One model of the chain, and what its prices are for this account. */
interface Link {
  readonly model: Model
  readonly prices: PriceSet
  /** The caller has named it, so that he has agreed to its price. */
  readonly isNamed: boolean
}

/**
 * Finds where a call may be served: by the model that was asked for, by those that the caller names beside it, and by
 * those that stand in for it. Throws GatewayError where a name is wrong and where nothing is left.
 */
export function routeCall(gateway: Gateway, asked: Asked, header: (name: string) => string | undefined): CallRoute {
  const { call, model } = asked
  const wish = readWish(call.body, header)
  gateway.router.budget.called()
  const chain = chainOf(gateway, asked, wish)
  const affordable = chain.filter(({ prices }) => isWithin(prices, wish.maxPrice))
  const routes = affordable.map((link) => ({ link, ...routeModel(gateway, asked, { wish, model: link.model }) }))
  const considered = () =>
    routes.flatMap((route) => route.considered.map((each) => ({ ...each, served: route.link.model.name })))
  const [first] = routes
  const candidates = first && routes.length === 1 ? first.candidates : routes.flatMap((route) => route.candidates)
  if (candidates.length === 0)
    throw nothingFits({ model, wish, considered: considered(), isTooDear: affordable.length < chain.length })
  const payer =
    dearest(
      call,
      affordable.filter(({ isNamed }) => isNamed),
    ) ?? model
  const policy = policyOf({ model, wish, preference: asked.caller.routing })
  return {
    candidates,
    payer,
    policy,
    explained: wish.explain ? explain(policy, considered()) : undefined,
    mirror: first?.mirror,
  }
}

function routeModel(
  { platform, router }: Gateway,
  { caller, call }: Asked,
  { wish, model }: { wish: Wish; model: Model },
) {
  const catalog = platform.catalog()
  return router.route({
    catalog,
    model,
    call,
    wish,
    accountId: caller.accountId,
    preference: caller.routing,
    keyClass: { priority: priorityOf(caller), ...(wish.scenario !== undefined && { scenario: wish.scenario }) },
    refuses: (target) => refusedParameter(catalog.vendors.get(target.vendor)?.adapter, call),
    choosesVendors: ({ vendor }) => vendors.get(catalog.vendors.get(vendor)?.adapter ?? '')?.choosesVendors === true,
  })
}

/** Accounts of the tier of this name have the vendor keys that are kept for them. */
const privileged = 'vip'

function priorityOf({ account }: Caller): KeyPriority {
  return account?.tier === privileged ? 'vip' : 'normal'
}

/** The parameter that an adapter cannot serve; undefined where it takes them all, or takes the caller's own bytes. */
function refusedParameter(adapter = '', call: Call): string | undefined {
  const table = parameterTables.get(adapter)
  // The tables are about conversations.
  if (!table || call.measure || vendors.get(adapter)?.speaks.includes(call.dialect)) return undefined
  try {
    checkParameters(call.inner, table)
    return undefined
  } catch (caught) {
    if (caught instanceof GatewayError) return caught.param ?? 'unknown'
    throw caught
  }
}

function chainOf(gateway: Gateway, { caller, call, model }: Asked, wish: Wish): readonly Link[] {
  const { exchange, ...catalog } = gateway.platform.catalog()
  const named = [model, ...wish.models.map((name) => modelFor(gateway, caller, { ...call, model: name }))]
  // Who names a single target wants that one.
  const isNarrowed = catalog.models.get(model.name)?.targets.length !== model.targets.length
  const standIns = (isNarrowed ? [] : (model.routing?.fallbacks ?? [])).flatMap((name) => {
    const found = findModel(catalog, name)
    // What the key may not use, it may not get in the place of another model either.
    return found && mayUse(caller, found.name) ? [found] : []
  })
  // Most calls name one model that nothing stands in for.
  if (named.length === 1 && standIns.length === 0)
    return [{ model, prices: pinPrices(model, caller, exchange), isNamed: true }]
  const links = new Map<string, Link>()
  for (const [at, each] of [...named, ...standIns].entries()) {
    const isNamed = at < named.length
    // The model that was asked for is refused for want of a price; another one is passed over.
    const prices = at === 0 ? pinPrices(each, caller, exchange) : pricesOf(each, caller, exchange)
    const id = `${each.name}\n${each.targets.map(({ vendor, model: own }) => `${vendor}/${own}`).join('\n')}`
    if (prices && !links.has(id) && links.size < maxModelsTried) links.set(id, { model: each, prices, isNamed })
  }
  return [...links.values()]
}

function pricesOf(...[model, caller, exchange]: Parameters<typeof pinPrices>): PriceSet | undefined {
  try {
    return pinPrices(model, caller, exchange)
  } catch (caught) {
    if (caught instanceof GatewayError) return undefined
    throw caught
  }
}

function isWithin(prices: PriceSet, { prompt, completion }: Wish['maxPrice']): boolean {
  const isOver = (unit: 'input' | 'output', most: Nanos | undefined): boolean =>
    most !== undefined && (priceOf(prices, unit) ?? 0n) * BigInt(prices.discountPpm) > most * 1_000_000n
  return !isOver('input', prompt) && !isOver('output', completion)
}

/** The hold is made for the dearest model that the caller has named, so that none of them is served below its price. */
function dearest(call: Call, links: readonly Link[]): Model | undefined {
  if (links.length < 2) return links[0]?.model
  const reach = { startedAtMs: call.startedAtMs, serviceTier: serviceTierOf(call.inner) }
  const inputTokens = promptOf(call).upperBound
  const costs = links.map(({ model, prices }) => {
    const outputTokens = call.choices * (call.maxOutput ?? model.maxOutputTokens)
    return { model, cost: quote({ ...reach, inputTokens, outputTokens }, prices) }
  })
  return costs.reduce((most, one) => (one.cost > most.cost ? one : most)).model
}

/**
 * The price set of the model that has served, where it was another than the one whose price is pinned: the account pays
 * it if it comes to less.
 */
export function servedPrices(
  gateway: Gateway,
  caller: Caller,
  { answered, payer }: { answered: Answered; payer: Model },
): PriceSet | undefined {
  if (answered.model === payer.name) return undefined
  const { models, exchange } = gateway.platform.catalog()
  const model = models.get(answered.model)
  return model && pricesOf(model, caller, exchange)
}

/** What the answer's head says of its route. */
export function routeHeaders(
  { explained }: CallRoute,
  model: Model,
  answered: Answered,
): Readonly<Record<string, string>> {
  return {
    ...(answered.model !== model.name && { 'x-tollgate-fallback': answered.model }),
    ...(explained !== undefined && { 'x-tollgate-route': explained }),
  }
}

type Explained = Considered & { readonly served: string }

/** JSON in ASCII, as a header can carry it. Scores are shares: of what a target costs us it says nothing. */
function explain({ strategy }: RoutingPolicy, considered: readonly Explained[]): string {
  const targets = considered.slice(0, maxExplained).map(({ name, served, state, score, why }) => ({
    target: name,
    model: served,
    state,
    ...(score !== undefined && { score: Math.round(score * 1000) / 1000 }),
    ...(why !== undefined && { why }),
  }))
  return JSON.stringify({ strategy, targets })
}

/** The same error, with the route behind its message where the caller has asked for it. */
export function explainedError(error: GatewayError, { explained }: Pick<CallRoute, 'explained'>): GatewayError {
  if (explained === undefined) return error
  const { code, message, param, vendorCode, retryAfterMs, status, cause } = error
  return new GatewayError(code, `${message} Route: ${explained}`, {
    status,
    cause,
    ...(param !== undefined && { param }),
    ...(vendorCode !== undefined && { vendorCode }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })
}

interface Nothing {
  readonly model: Model
  readonly wish: Wish
  readonly considered: readonly Explained[]
  readonly isTooDear: boolean
}

/** Why no target is left: what the caller can change is his to change, and all else is the operator's. */
function nothingFits({ model, wish, considered, isTooDear }: Nothing): GatewayError {
  const why = new Set(considered.map((each) => each.why))
  const told = wish.explain
    ? ` Targets: ${considered
        .slice(0, maxExplained)
        .map((each) => `${each.name} ${each.why}`)
        .join(', ')}.`
    : ''
  const refuse = (param: string, what: string): GatewayError =>
    new GatewayError('invalid_value', `No target of model "${model.name}" ${what}.${told}`, { param })
  if (why.has('not_among_only')) return refuse('provider.only', 'is among "provider.only"')
  if (why.has('ignored')) return refuse('provider.ignore', 'is left once "provider.ignore" is')
  if (why.has('region')) return refuse('provider.region', 'is in that region')
  if (isTooDear) return refuse('provider.max_price', 'costs as little as "provider.max_price" says')
  if (why.has('max_output')) return refuse('max_tokens', 'gives so long an answer')
  if (why.has('context_length'))
    return new GatewayError(
      'context_length_exceeded',
      `The prompt is too long for every target of model "${model.name}".${told}`,
      { param: 'messages' },
    )
  return notSetUp(model)
}

/** Whether every target that may serve is one whose calls are never charged. */
export function isFreeRoute({ platform }: Gateway, targets: readonly Target[]): boolean {
  const catalog = platform.catalog()
  return targets.every((target) => vendors.get(catalog.vendors.get(target.vendor)?.adapter ?? '')?.free === true)
}
