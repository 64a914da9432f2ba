import { Hono } from 'hono'

/** What must be there before calls can be served, each by its name. */
export type Checks = () => Readonly<Record<string, boolean>>

/** The figures as text, for whoever may see them; throws GatewayError for all others. */
export type Metrics = (request: Request) => Promise<string>

/**
 * `/healthz`: the process answers. `/readyz`: it can serve calls; names what is missing while it cannot. `/metrics`:
 * what it has done, for Prometheus.
 */
export function ops(checks: Checks, metrics?: Metrics): Hono {
  const app = new Hono()
  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', (c) => {
    const results = checks()
    const isReady = Object.values(results).every(Boolean)
    return c.json({ status: isReady ? 'ready' : 'not_ready', checks: results }, isReady ? 200 : 503)
  })
  if (metrics)
    app.get('/metrics', async (c) =>
      c.body(await metrics(c.req.raw), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
    )
  return app
}
