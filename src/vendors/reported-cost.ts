import type { Json, JsonObject } from '../core/call.ts'
import { divideUp, type Nanos } from '../core/money.ts'
import { isObject } from '../core/wire.ts'

/** A vendor that says more than a million dollars for one call means something else. */
const mostDollars = 1_000_000
const mostTicks = mostDollars * 1e10

/**
 * What a vendor says in its usage that the call cost, in nano-USD rounded up; undefined where it says nothing of it.
 * There are three forms: whole ticks of 10^-10 dollars (`cost_in_usd_ticks`), dollars (`cost`), and dollars with their
 * parts (`cost.total_cost`). It is only ever compared with our own reckoning, never charged.
 */
export function reportedCost({ cost_in_usd_ticks: ticks, cost }: JsonObject): Nanos | undefined {
  if (typeof ticks === 'number')
    return Number.isSafeInteger(ticks) && ticks >= 0 && ticks <= mostTicks ? divideUp(BigInt(ticks), 10n) : undefined
  return fromDollars(isObject(cost) ? cost['total_cost'] : cost)
}

/** JSON gives dollars as a double; ten decimals are more than any vendor tells apart. */
function fromDollars(dollars: Json | undefined): Nanos | undefined {
  if (typeof dollars !== 'number' || !(dollars >= 0) || dollars > mostDollars) return undefined
  return divideUp(BigInt(dollars.toFixed(10).replace('.', '')), 10n)
}
