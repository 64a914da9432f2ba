import { Hono } from 'hono'
import { z } from 'zod'
import { GatewayError } from '../core/errors.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { callId, fields, readBody, refuseOthers } from './input.ts'

/** Calls that were rated, so that each counts once; beyond it the oldest may be rated again. */
const ratedLimit = 100_000
/** What was just charged is found: reading waits this long for it to reach the books. */
const freshMs = 2_000
const path = '/v1/feedback'

const mark = 'must be a number from 0 (useless) to 1 (good)'
const rating = fields({ id: callId, score: z.number({ error: mark }).min(0, { error: mark }).max(1, { error: mark }) })

/** What the user of an answer thinks of it. It becomes part of the quality of the target that gave the answer. */
export function feedback(gateway: Gateway): Hono {
  const app = new Hono()
  const rated = new Set<string>()
  const { auth, ledger, platform, router } = gateway

  app.post(path, async (c) => {
    const { accountId, keyId } = await auth.caller((name) => c.req.header(name))
    const { id, score } = await readBody(c.req.raw, rating)
    if (ledger.batcher.pending(id)) await ledger.batcher.drained(freshMs)
    const receipt = await platform.books.receipt({ accountId, keyId, id })
    if (!receipt) throw new GatewayError('not_found', 'No call with this id was made with this key.', { param: 'id' })
    if (rated.has(id)) throw new GatewayError('conflict', 'This call was rated already.', { param: 'id' })
    rated.add(id)
    const [oldest = id] = rated
    if (rated.size > ratedLimit) rated.delete(oldest)
    const { vendor, vendorModel: model } = receipt
    // Which region served is not on record: where a target has several, all of them are meant.
    for (const { target } of router.report(platform.catalog()).targets)
      if (target.vendor === vendor && target.model === model) router.rated(target, score)
    return c.json({ object: 'feedback', id, score }, 201)
  })
  refuseOthers(app, path, 'POST')
  return app
}
