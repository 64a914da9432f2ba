import { Hono } from 'hono'

/** What must be there before calls can be served, each by its name. */
export type Checks = () => Readonly<Record<string, boolean>>

/** `/healthz`: the process answers. `/readyz`: it can serve calls; names what is missing while it cannot. */
export function ops(checks: Checks): Hono {
  const app = new Hono()
  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', (c) => {
    const results = checks()
    const isReady = Object.values(results).every(Boolean)
    return c.json({ status: isReady ? 'ready' : 'not_ready', checks: results }, isReady ? 200 : 503)
  })
  return app
}
