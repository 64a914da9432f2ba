import type { Call, Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import type { Nanos } from '../core/money.ts'
import type { PriceSet } from '../core/price.ts'
import { readPrompt, type PromptText } from '../core/prompt.ts'
import { admitHold, type Hold, type Ledger, NotFunded } from '../ledger/hold.ts'
import { pinPrices } from '../ledger/prices.ts'
import { coveredOutput, quote } from '../ledger/size.ts'
import type { Settings } from '../ports.ts'

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

export interface AdmitRequest {
  readonly caller: Caller
  readonly call: Call
  readonly model: Model
  /** Recorded and priced, never charged. */
  readonly free: boolean
}

/**
 * Pins the prices and sets the money aside: a small hold that grows with the stream, or the worst case where one body
 * is asked for. Throws GatewayError for every limit that is reached.
 */
export async function admit(ledger: Ledger, request: AdmitRequest): Promise<Admission> {
  const { caller, call, model, free } = request
  const prices = pinPrices(model, caller)
  const prompt = readPrompt(call.body)
  const promptTokens = countOnce(ledger, prompt)
  const bound = call.choices * (call.maxOutput ?? model.maxOutputTokens)
  const available = await availableTo(ledger, caller.accountId)
  const plan = { request, prices, bound, available, promptTokens }
  // Counting a prompt costs more than all else that a call needs: where money is plenty a bound of its tokens does.
  const isRich = free || affords(available, quote({ inputTokens: prompt.upperBound, outputTokens: bound }, prices))
  if (!isRich) return takeHold(ledger, plan, { inputTokens: await promptTokens(), isExact: true })
  try {
    return await takeHold(ledger, plan, { inputTokens: prompt.upperBound, isExact: false })
  } catch (error) {
    // The account is rich, but a budget of the key is not: it is asked for what the call needs, and no more.
    if (!(error instanceof NotFunded)) throw error
    return takeHold(ledger, { ...plan, available: 0n }, { inputTokens: await promptTokens(), isExact: true })
  }
}

interface Plan {
  readonly request: AdmitRequest
  readonly prices: PriceSet
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
  const worst = quote({ inputTokens, outputTokens: bound }, prices)
  const policy = model.policies.unstreamed
  const mayWhole = policy === 'whole' || (policy === 'auto' && (!isExact || affords(available, worst)))
  const whole = !call.stream && mayWhole && (settings.holdCap === undefined || worst <= settings.holdCap)
  const hold = await admitHold(ledger, {
    id: call.id,
    caller,
    model: call.model,
    prices,
    free,
    stream: call.stream,
    startedAtMs: call.startedAtMs,
    inputTokens,
    outputTokens: whole ? bound : firstOutput({ inputTokens, bound, prices }, settings),
    mostOutputTokens: bound,
  })
  return { hold, prices, whole, promptTokens }
}

/** What the first hold of a stream covers: a little, and under the operator's cap for one hold. */
function firstOutput(
  { inputTokens, bound, prices }: { inputTokens: number; bound: number; prices: PriceSet },
  settings: Settings,
): number {
  const wanted = Math.min(bound, settings.firstOutputTokens)
  if (settings.holdCap === undefined) return wanted
  return Math.min(wanted, coveredOutput(settings.holdCap, inputTokens, prices))
}

function affords(available: Nanos, worst: Nanos): boolean {
  return worst * affordableShare <= available
}

/** What the account has, as last seen; an account that was not seen yet is loaded. */
async function availableTo({ spender, platform }: Ledger, accountId: number): Promise<Nanos> {
  const seen = spender.seen(accountId)
  if (seen !== undefined) return seen
  const account = await platform.shared.account(accountId)
  return account ? account.purses.reduce((sum, purse) => sum + purse.available, 0n) : 0n
}

function countOnce({ platform }: Ledger, { texts, fixedTokens }: PromptText): () => Promise<number> {
  let counting: Promise<number> | undefined
  const count = async () => {
    const counts = await Promise.all(texts.map((text) => platform.tokenizer.count(text)))
    return counts.reduce((sum, tokens) => sum + tokens, fixedTokens)
  }
  return () => (counting ??= count())
}
