import { Hono } from 'hono'
import type { Authenticator } from '../auth/authenticate.ts'
import { usageSums } from '../db/usage.ts'
import { usageJson, usageList } from './admin-usage.ts'
import type { AdminDeps } from './admin-keys.ts'
import { fields, readQuery, refuseOthers } from './input.ts'
import { groupsOf, publicKey, readPlace, stretchOf, usagePage } from './usage-input.ts'

export interface SelfUsageDeps extends Pick<AdminDeps, 'database' | 'clock'> {
  readonly auth: Pick<Authenticator, 'caller'>
  /** Waits a bounded time for what was just charged to reach the books. */
  fresh(): Promise<unknown>
}

/** Vendors and what they cost are not the caller's business. */
const query = fields({ ...usagePage, group_by: groupsOf(['key', 'model', 'day']), key: publicKey.optional() })

/** What a key and the keys below it have used. */
export function selfUsage({ database, auth, clock, fresh }: SelfUsageDeps): Hono {
  const app = new Hono()

  app.get('/v1/usage', async (c) => {
    const caller = await auth.caller((name) => c.req.header(name))
    const asked = readQuery(c.req.raw, query)
    const { limit, group_by: groups, time_zone: timeZone, cursor, key } = asked
    const when = stretchOf(asked, clock.now())
    const after = readPlace(cursor, groups)
    await fresh()
    const of = { ...when, timeZone, groups, below: caller.keyId, key, limit: limit + 1, after }
    // What we owe in another currency makes rows in which nothing was charged or called: they say nothing here.
    const rows = await usageSums(database, { ...of, accountId: caller.accountId, currency: caller.currency })
    return c.json(usageList({ rows, limit }, (row) => usageJson(row, groups)))
  })

  refuseOthers(app, '/v1/usage', 'GET')
  return app
}
