import type { Call, Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import type { Nanos } from '../core/money.ts'
import type { PriceSet } from '../core/price.ts'
import { readPrompt, type PromptText } from '../core/prompt.ts'
import { admitHold, type Hold, type Ledger } from '../ledger/hold.ts'
import { pinPrices } from '../ledger/prices.ts'
import { quote } from '../ledger/size.ts'

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
  const { settings } = ledger.platform
  const prices = pinPrices(model, caller)
  const prompt = readPrompt(call.body)
  const promptTokens = countOnce(ledger, prompt)
  const bound = call.choices * (call.maxOutput ?? model.maxOutputTokens)
  const available = await availableTo(ledger, caller.accountId)
  const isRich = free || affords(available, quote({ inputTokens: prompt.upperBound, outputTokens: bound }, prices))
  // Counting a prompt costs more than all else that a call needs: where money is plenty a bound does.
  const inputTokens = isRich ? prompt.upperBound : await promptTokens()
  const worst = quote({ inputTokens, outputTokens: bound }, prices)
  const policy = model.policies.unstreamed
  const whole = !call.stream && (policy === 'whole' || (policy === 'auto' && (isRich || affords(available, worst))))
  const hold = await admitHold(ledger, {
    id: call.id,
    caller,
    model: call.model,
    prices,
    free,
    stream: call.stream,
    startedAtMs: call.startedAtMs,
    inputTokens,
    outputTokens: whole ? bound : Math.min(bound, settings.firstOutputTokens),
    mostOutputTokens: bound,
  })
  return { hold, prices, whole, promptTokens }
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
