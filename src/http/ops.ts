import { Hono } from 'hono'

/** What must be there before calls can be served, each by its name. */
export type Checks = () => Readonly<Record<string, boolean>>

/** Conditions under which calls are still served, each in a word. */
export type States = () => Readonly<Record<string, string>>

/** The figures as text, for whoever may see them; throws GatewayError for all others. */
export type Metrics = (request: Request) => Promise<string>

export interface OpsOptions {
  readonly checks: Checks
  readonly states?: States
  /** Absent: there is no `/metrics`. */
  readonly metrics?: Metrics
}

/**
 * `/healthz`: the process answers. `/readyz`: it can serve calls; names what is missing while it cannot. `/metrics`:
 * what it has done, for Prometheus.
 */
export function ops({ checks, states, metrics }: OpsOptions): Hono {
  const app = new Hono()
  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', (c) => {
    const results = checks()
    const isReady = Object.values(results).every(Boolean)
    const body = { status: isReady ? 'ready' : 'not_ready', checks: results, ...(states && { states: states() }) }
    return c.json(body, isReady ? 200 : 503)
  })
  if (metrics)
    app.get('/metrics', async (c) =>
      c.body(await metrics(c.req.raw), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
    )
  return app
}
