import { Hono } from 'hono'
import { z } from 'zod'
import { printMoney } from '../core/money.ts'
import { listCalls, type ListedCall } from '../db/calls.ts'
import { usageGroups, usageSums, type UsageGroup, type UsageSum } from '../db/usage.ts'
import { requireManagement, type AdminDeps } from './admin-keys.ts'
import { callId, fields, page, readQuery, refuseOthers } from './input.ts'
import { groupsOf, printPlace, publicKey, readPlace, stretch, stretchOf, usagePage } from './usage-input.ts'

export type UsageDeps = Pick<AdminDeps, 'database' | 'auth' | 'clock'>

const accountId = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, { error: 'must be the id of an account' })
  .transform(Number)

const usageQuery = fields({
  ...usagePage,
  group_by: groupsOf(usageGroups),
  account: accountId.optional(),
  key: publicKey.optional(),
})

const callsQuery = fields({
  ...stretch,
  limit: page.limit,
  cursor: callId.optional(),
  account: accountId.optional(),
  key: publicKey.optional(),
})

/** What was used and what it brought in: for management keys alone. */
export function adminUsage(deps: UsageDeps): Hono {
  const app = new Hono()
  const { database, clock } = deps

  app.get('/admin/v1/usage', async (c) => {
    await requireManagement(deps, c.req.raw, 'Usage is')
    const query = readQuery(c.req.raw, usageQuery)
    const { limit, group_by: groups, time_zone: timeZone, cursor, account, key } = query
    const when = stretchOf(query, clock.now())
    const of = { ...when, timeZone, groups, accountId: account, key, after: readPlace(cursor, groups) }
    const rows = await usageSums(database, { ...of, limit: limit + 1 })
    return c.json(usageList({ rows, limit }, (row) => ({ ...usageJson(row, groups), ...marginJson(row) })))
  })

  app.get('/admin/v1/calls', async (c) => {
    await requireManagement(deps, c.req.raw, 'Calls are')
    const query = readQuery(c.req.raw, callsQuery)
    const { limit, cursor: before, account, key } = query
    const when = stretchOf(query, clock.now())
    const rows = await listCalls(database, { ...when, accountId: account, key, limit: limit + 1, before })
    const data = rows.slice(0, limit)
    return c.json({
      object: 'list',
      data: data.map(callJson),
      next_cursor: rows.length > limit ? (data.at(-1)?.id ?? null) : null,
    })
  })

  refuseOthers(app, '/admin/v1/usage', 'GET')
  refuseOthers(app, '/admin/v1/calls', 'GET')
  return app
}

interface Page {
  /** One more than the limit where there is another page. */
  readonly rows: readonly UsageSum[]
  readonly limit: number
}

export function usageList({ rows, limit }: Page, print: (row: UsageSum) => object) {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  return {
    object: 'list',
    data: data.map(print),
    next_cursor: rows.length > limit && last ? printPlace([...last.values, last.currency]) : null,
  }
}

/** Counts are numbers, which hold them exactly up to 9 · 10^15; money is text. */
export function usageJson({ values, currency, calls, input, output, charge }: UsageSum, groups: readonly UsageGroup[]) {
  const named = groups.map((group, index) => [group, group === 'account' ? Number(values[index]) : values[index]])
  return {
    object: 'usage',
    ...Object.fromEntries(named),
    currency,
    calls: Number(calls),
    input_tokens: Number(input),
    output_tokens: Number(output),
    charge: printMoney(charge),
  }
}

/** What we owe in another currency than we charge stands in a row of its own, as a loss. */
const marginJson = ({ charge, cost }: UsageSum) => ({ cost: printMoney(cost), margin: printMoney(charge - cost) })

function callJson(call: ListedCall) {
  return {
    object: 'call',
    id: call.id,
    account: call.accountId,
    key: call.key ?? null,
    model: call.model,
    vendor: call.vendor,
    vendor_model: call.vendorModel,
    outcome: call.outcome,
    error: call.error ?? null,
    stream: call.stream,
    input_tokens: Number(call.input),
    output_tokens: Number(call.output),
    usage_source: call.source,
    currency: call.currency,
    priced: printMoney(call.priced),
    charge: printMoney(call.charge),
    refunded: printMoney(call.refunded),
    costs: Object.fromEntries(
      Object.entries(call.costs).map(([currency, nanos]) => [currency, printMoney(BigInt(nanos))]),
    ),
    created_at: call.startedAt.toISOString(),
    ended_at: call.endedAt.toISOString(),
    first_byte_ms: call.firstByteMs ?? null,
  }
}
