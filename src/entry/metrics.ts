import type { Gateway } from '../gateway/gateway.ts'
import { vendorGauges } from '../gateway/vendor-gauges.ts'
import { requireManagement } from '../http/admin-keys.ts'
import type { Metrics } from '../http/ops.ts'
import type { Reconciler } from '../ledger/reconcile.ts'
import { watchProcess } from '../platform/process-figures.ts'
import type { RedisShared } from '../platform/redis.ts'
import type { WorkerLink } from './worker-link.ts'

export interface MetricsParts {
  readonly gateway: Gateway
  readonly reconciler: Reconciler
  readonly common: RedisShared | undefined
  readonly link: WorkerLink | undefined
}

/** Prints what is measured here at the moment. */
function figuresOf({ gateway, reconciler, common }: MetricsParts): () => string {
  const { ledger, telemetry } = gateway
  const watched = watchProcess()
  return () => {
    const found = reconciler.last()
    return telemetry.print({
      holdsLive: ledger.live.size,
      batcherWaiting: ledger.batcher.waiting,
      booksFailing: ledger.batcher.failing,
      ...(common && { redisAway: common.away().length }),
      process: watched.read(),
      vendors: vendorGauges(gateway),
      reconciliation: found && { ...found, violations: found.violations.length },
    })
  }
}

/** Sums of money are the operator's business, so they are told to management keys alone; of all workers together. */
export function openMetrics(parts: MetricsParts): Metrics {
  const { gateway, link } = parts
  const print = figuresOf(parts)
  const gather = link?.gatherer(print) ?? print
  return async (request) => {
    await requireManagement(gateway, request, 'Metrics are')
    return gather()
  }
}
