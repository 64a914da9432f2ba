import type { Call, Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import type { Nanos } from '../core/money.ts'
import type { PriceSet } from '../core/price.ts'
import { mostLimit } from '../core/rate-limit.ts'
import { hasAudio, serviceTierOf } from '../core/wire.ts'
import { plainWeights, tokenAsset } from '../core/tokens.ts'
import { admitHold, type Hold, type HoldRequest, type Ledger, NotFunded } from '../ledger/hold.ts'
import { pinPrices } from '../ledger/prices.ts'
import { coveredOutput, quote, type Reach } from '../ledger/size.ts'
import type { LimitSettings, Settings } from '../ports.ts'
import { boundsOf, countsTokens, type Named, withAccount } from './limits.ts'
import { countedPrompt } from './prompt-count.ts'
import type { Bound, Shares } from './shares.ts'

/** An account can well afford what is at most this share of its available money. */
const affordableShare = 10n

export interface Admission {
  readonly hold: Hold
  readonly prices: PriceSet
  /** The vendor is asked for one body; otherwise for a stream. */
  readonly whole: boolean
  /** Tokens of the prompt by our own count, made when first asked for. */
  promptTokens(): Promise<number>
}

/** The ledger, and this replica's shares of limits over accounts where there are any. */
export interface AdmitParts {
  readonly ledger: Ledger
  readonly shares?: Shares
}

const noLimits: LimitSettings = { tiers: new Map(), shared: [] }

export interface AdmitRequest {
  readonly caller: Caller
  readonly call: Call
  readonly model: Model
  /** Recorded and priced, never charged. */
  readonly free: boolean
  /** As whose address the caller's counts; undefined or absent: nobody can tell. */
  address?(): string | undefined
}

/**
 * Pins the prices and sets the money aside: a small hold that grows with the stream, or the worst case where one body
 * is asked for. Throws GatewayError for every limit that is reached.
 */
export async function admit({ ledger, shares }: AdmitParts, asked: AdmitRequest): Promise<Admission> {
  const { call, model, free } = asked
  const { tiers, shared } = ledger.platform.settings.limits ?? noLimits
  const caller = withAccount(asked.caller, tiers)
  const bounds = shares ? boundsOf(shared, namedBy(asked)) : []
  const request = { ...asked, caller, bounds, shares }
  const prices = pinPrices(model, caller, ledger.platform.catalog().exchange)
  const { measure } = call
  const reach = {
    startedAtMs: call.startedAtMs,
    serviceTier: serviceTierOf(call.inner),
    audio: measure?.audio ?? hasAudio(call.inner),
    ...(measure && { pieces: measure.most }),
  }
  const { prompt, tokens: promptTokens } = countedPrompt(ledger.platform, call)
  const bound = call.choices * (call.maxOutput ?? model.maxOutputTokens)
  const available = await availableTo(ledger, caller.accountId)
  const plan = { request, prices, reach, bound, available, promptTokens }
  // Counting a prompt costs more than all else that a call needs: where money is plenty a bound of its tokens does.
  const most = { ...reach, inputTokens: prompt.upperBound, outputTokens: bound }
  const worst = quote(most, prices)
  const isFunded = free || affords(available, worst)
  // What is lent is little for this call; of what the account has elsewhere more may come for the next ones.
  if (!isFunded) ledger.homes.of(caller.accountId).spender.topUpAhead(caller.accountId, worst * affordableShare)
  const isRich = !countsTokens(caller, bounds) && isFunded && (free || budgetsAfford(caller, worst))
  if (!isRich) return takeHold(ledger, plan, { inputTokens: await promptTokens(), isExact: true })
  try {
    return await takeHold(ledger, plan, { inputTokens: prompt.upperBound, isExact: false })
  } catch (error) {
    // The account is rich, but a budget of the key is not: it is asked for what the call needs, and no more.
    if (!(error instanceof NotFunded)) throw error
    return takeHold(ledger, { ...plan, available: 0n }, { inputTokens: await promptTokens(), isExact: true })
  }
}

/** Callers of whom no address is known are limited together. */
const unknownAddress = 'unknown'

/** What a call is, for limits over accounts. */
export function namedBy({ model, call, address }: Omit<AdmitRequest, 'free'>): Named {
  return { model: model.name, endpoint: call.operation, ip: address?.() ?? unknownAddress }
}

interface Plan {
  readonly request: AdmitRequest & { readonly bounds: readonly Bound[]; readonly shares: Shares | undefined }
  readonly prices: PriceSet
  /** What may make it dearer, beside the length of the prompt. */
  readonly reach: Omit<Reach, 'inputTokens'>
  /** The most output tokens that the call can give. */
  readonly bound: number
  readonly available: Nanos
  promptTokens(): Promise<number>
}

interface Input {
  readonly inputTokens: number
  /** Counted; otherwise an upper bound, which is only taken where money is plenty. */
  readonly isExact: boolean
}

async function takeHold(ledger: Ledger, plan: Plan, { inputTokens, isExact }: Input): Promise<Admission> {
  const { request, prices, bound, available, promptTokens } = plan
  const { caller, call, model, free } = request
  const { settings } = ledger.platform
  const reach = { ...plan.reach, inputTokens }
  const worst = quote({ ...reach, outputTokens: bound }, prices)
  const policy = model.policies.unstreamed
  const mayWhole = policy === 'whole' || (policy === 'auto' && (!isExact || affords(available, worst)))
  const isSmall = settings.holdCap === undefined || worst <= settings.holdCap
  // What is no conversation does not grow: all of it is held, and it is never gathered from a stream.
  const whole = call.measure !== undefined || (!call.stream && mayWhole && isSmall)
  const outputTokens = whole ? bound : firstOutput({ reach, bound, prices }, settings)
  const taken = await request.shares?.take(request.bounds, Math.min(mostLimit, inputTokens + outputTokens))
  const wanted: HoldRequest = {
    id: call.id,
    caller,
    model: call.model,
    publicModel: model.name,
    prices,
    tokenWeights: model.tokenWeights ?? plainWeights,
    free,
    stream: call.stream,
    ...reach,
    outputTokens,
    mostOutputTokens: bound,
    ...(taken && { ended: taken.settle }),
  }
  try {
    return { hold: await admitHold(ledger, wanted), prices, whole, promptTokens }
  } catch (error) {
    taken?.undo()
    throw error
  }
}

/** What the first hold of a stream covers: a little, and under the operator's cap for one hold. */
function firstOutput(
  { reach, bound, prices }: { reach: Reach; bound: number; prices: PriceSet },
  settings: Settings,
): number {
  const wanted = Math.min(bound, settings.firstOutputTokens)
  if (settings.holdCap === undefined) return wanted
  return Math.min(wanted, coveredOutput(settings.holdCap, reach, prices))
}

function affords(available: Nanos, worst: Nanos): boolean {
  return worst * affordableShare <= available
}

/** A bound set aside on a small budget would keep out calls that it could pay. What is left of it only the engine knows. */
function budgetsAfford({ chain }: Caller, worst: Nanos): boolean {
  return chain.every(({ budgets }) => budgets.every(({ limit }) => affords(limit, worst)))
}

/** What the account has, as last seen; an account that was not seen yet is loaded. */
async function availableTo({ homes }: Ledger, accountId: number): Promise<Nanos> {
  const { spender, shared } = homes.of(accountId)
  const seen = spender.seen(accountId)
  if (seen !== undefined) return seen
  // This is a hint: where the books are away it is missing, and taking the hold says so.
  if (!spender.purses(accountId)) await spender.loadAccount(accountId).catch(() => {})
  const account = await shared.account(accountId).catch(() => undefined)
  const isMoney = (id: number) =>
    !spender.purses(accountId)?.some((purse) => purse.id === id && purse.asset === tokenAsset)
  const money = account?.purses.filter(({ id }) => isMoney(id)) ?? []
  return money.reduce((sum, purse) => sum + purse.available, 0n)
}
