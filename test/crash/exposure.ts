import type { Fault } from './faults.ts'

/** A call as the faults could meet it: when it ran, and at which gateway. */
export interface Met {
  readonly gateway: number
  readonly fromMs: number
  readonly toMs: number
}

/** How a call was met. */
export interface Exposure {
  /** Its gateway was killed while it ran or just after. */
  readonly isKilled: boolean
  /** Redis was away when its gateway was killed, or lost its data before another had ended the call. */
  readonly isExposed: boolean
}

/** A call that was under way when a gateway was killed may be heard to its end this much later. */
const echoMs = 1_000
/** From the return of Redis until every call is known there: a new connection, and the next checkpoint. */
const returnMs = 4_000
/** From the return of the database until all that waited is there: a new connection, and the batcher's longest pause. */
const databaseReturnMs = 8_000
/** From a kill until another gateway has ended its calls: a hold's term, the time for which it is hidden, two sweeps. */
const reapMs = 22_000

/** What the faults of a run may have done to a call. */
export function exposureOf(faults: readonly Fault[], call: Met): Exposure {
  const outages = faults.filter(({ what }) => what === 'postgres')
  // Who was frozen before it was killed did nothing any more from then on.
  const kills = faults.flatMap(({ at, fromMs, killedMs }) =>
    at === call.gateway && killedMs !== undefined ? [{ fromMs, toMs: killedMs }] : [],
  )
  const endMs = call.toMs + echoMs
  // Until the database is back, its record is in the gateway's memory and in Redis.
  const writtenMs = waited(outages, { fromMs: call.fromMs, toMs: endMs })
  const troubles = faults
    .filter(({ what }) => what === 'redis')
    .map(({ fromMs, toMs, isLoss }) => ({ isLoss, fromMs, toMs: waited(outages, { fromMs, toMs: toMs + returnMs }) }))
  const isMet = ({ fromMs }: Span) =>
    troubles.some((trouble) => {
      const reapedMs = waited(outages, { fromMs, toMs: fromMs + reapMs })
      // A Redis that comes back with its data has what was last stored there.
      return trouble.fromMs <= (trouble.isLoss ? reapedMs : fromMs) && trouble.toMs >= fromMs
    })
  return {
    isKilled: kills.some(({ fromMs, toMs }) => toMs >= call.fromMs && fromMs <= endMs),
    isExposed: kills.some((kill) => kill.toMs >= call.fromMs && kill.fromMs <= writtenMs && isMet(kill)),
  }
}

interface Span {
  readonly fromMs: number
  readonly toMs: number
}

/** The end of a span, or the return from the last outage that falls into it. */
function waited(outages: readonly Fault[], span: Span): number {
  return outages
    .toSorted((a, b) => a.fromMs - b.fromMs)
    .reduce((end, { fromMs, toMs }) => {
      const backMs = toMs + databaseReturnMs
      return fromMs <= end && backMs >= span.fromMs ? Math.max(end, backMs) : end
    }, span.toMs)
}
