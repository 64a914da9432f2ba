import { fullPricePpm, priceSet } from '../core/price-set.ts'
import { admitHold, type Hold } from '../ledger/hold.ts'
import { type AdmitParts, type AdmitRequest, namedBy } from './admit.ts'
import { boundsOf, withAccount } from './limits.ts'

/**
 * Lets in a call that costs nothing: it counts at every limit of requests and of calls at once, and sets no money and
 * no tokens aside. Whoever asks voids the hold when the call is over. Throws GatewayError for a limit that is reached.
 */
export async function admitFree({ ledger, shares }: AdmitParts, asked: Omit<AdmitRequest, 'free'>): Promise<Hold> {
  const { call, model } = asked
  const { tiers, shared } = ledger.platform.settings.limits ?? { tiers: new Map(), shared: [] }
  const caller = withAccount(asked.caller, tiers)
  const taken = await shares?.take(boundsOf(shared, namedBy(asked)), 0)
  try {
    return await admitHold(ledger, {
      id: call.id,
      caller,
      model: call.model,
      publicModel: model.name,
      prices: priceSet({ currency: caller.currency, nanos: {}, discountPpm: fullPricePpm }),
      free: true,
      stream: false,
      startedAtMs: call.startedAtMs,
      inputTokens: 0,
      outputTokens: 0,
      mostOutputTokens: 0,
      ...(taken && { ended: taken.settle }),
    })
  } catch (error) {
    taken?.undo()
    throw error
  }
}
