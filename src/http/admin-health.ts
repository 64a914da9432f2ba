import { Hono } from 'hono'
import type { Catalog } from '../core/catalog.ts'
import type { Router, TargetReport, VendorReport } from '../gateway/gateway.ts'
import { type AdminDeps, requireManagement } from './admin-keys.ts'
import { refuseOthers } from './input.ts'

export interface HealthDeps extends Pick<AdminDeps, 'auth'> {
  /** Names this process: what it has seen is its own. */
  readonly replica: string
  readonly router: Pick<Router, 'report'>
  catalog(): Catalog
}

const path = '/admin/v1/health'

/** How every target and every vendor key does, as this process sees it: for management keys alone. */
export function adminHealth(deps: HealthDeps): Hono {
  const app = new Hono()
  app.get(path, async (c) => {
    await requireManagement(deps, c.req.raw, 'The state of the vendors is')
    const { targets, vendors } = deps.router.report(deps.catalog())
    return c.json({
      object: 'health',
      replica: deps.replica,
      targets: targets.map(targetJson),
      vendors: vendors.map(vendorJson),
    })
  })
  refuseOthers(app, path, 'GET')
  return app
}

function targetJson({ target, models, state, retryInMs, firstContentMs, tokenMs, ...seen }: TargetReport) {
  const { errorRate, feedback, inFlight, calls, errors, cacheShare } = seen
  return {
    vendor: target.vendor,
    vendor_model: target.model,
    region: target.region ?? null,
    models,
    state,
    retry_in_ms: retryInMs,
    calls,
    in_flight: inFlight,
    error_rate: rounded(errorRate),
    first_content_ms: firstContentMs === undefined ? null : Math.round(firstContentMs),
    output_tokens_per_second: tokenMs === undefined || tokenMs <= 0 ? null : rounded(1000 / tokenMs),
    cached_share: cacheShare.weight === 0 ? null : rounded(cacheShare.sum / cacheShare.weight),
    feedback: feedback === undefined ? null : rounded(feedback),
    last_errors: errors.map(({ atMs, code, status }) => ({ at: new Date(atMs).toISOString(), code, status })),
  }
}

function vendorJson({ vendor, keys }: VendorReport) {
  return {
    vendor,
    keys: keys.map(({ id, priority, inFlight, parked, retryInMs, busy, quota }) => ({
      name: id,
      priority,
      in_flight: inFlight,
      parked: parked ?? null,
      retry_in_ms: retryInMs,
      busy_models: busy,
      quota_left: Object.fromEntries(Object.entries(quota).map(([model, share]) => [model, rounded(share)])),
    })),
  }
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000
