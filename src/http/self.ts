import { Hono } from 'hono'
import type { Caller, KeyFacts } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { printTokens, tokenAsset } from '../core/tokens.ts'
import { inputTotal, outputTotal } from '../core/usage.ts'
import { mayUse } from '../auth/access.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { periodEnd, periodStart } from '../core/period.ts'
import type { Purse, Receipt } from '../ports.ts'

/** What was just charged is shown: reading waits this long for it to reach the books. */
const freshMs = 2_000
const callId = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

/** What a key may ask about itself: its limits, credit and calls. */
export function self(gateway: Gateway): Hono {
  const app = new Hono()
  const callerOf = (header: (name: string) => string | undefined) => gateway.auth.caller(header)

  app.get('/v1/key', async (c) => c.json(await keyOf(gateway, await callerOf((name) => c.req.header(name)))))
  app.get('/v1/credits', async (c) => c.json(await creditsOf(gateway, await callerOf((name) => c.req.header(name)))))

  app.get('/v1/generation', async (c) => {
    const caller = await callerOf((name) => c.req.header(name))
    const id = new URL(c.req.url).searchParams.get('id') ?? ''
    if (!callId.test(id))
      throw new GatewayError('invalid_value', 'Give the id of a call: its "x-request-id".', { param: 'id' })
    if (gateway.ledger.batcher.pending(id)) await gateway.ledger.batcher.drained(freshMs)
    const receipt = await gateway.platform.books.receipt({ accountId: caller.accountId, keyId: caller.keyId, id })
    if (!receipt) throw new GatewayError('not_found', 'No call with this id was made with this key.', { param: 'id' })
    return c.json(receiptJson(receipt))
  })
  return app
}

async function keyOf(gateway: Gateway, caller: Caller) {
  const [own] = caller.chain
  if (!own) throw new GatewayError('invalid_api_key', 'This key has no record.')
  const record = await recordOf(gateway, caller, own)
  const lists = caller.models
  return {
    object: 'key',
    id: caller.publicId,
    kind: caller.kind,
    models: lists.length === 0 ? null : (lists[0] ?? []).filter((name) => mayUse(caller, name)),
    requests_per_minute: own.requestsPerMinute ?? null,
    concurrency: own.concurrency ?? null,
    in_flight: record?.inFlight ?? 0,
    budgets: await budgetsOf(gateway, caller, own),
  }
}

/** Where the store of the counters does not answer, the books tell what was spent. */
function recordOf({ ledger }: Gateway, { accountId }: Caller, key: KeyFacts) {
  const { shared } = ledger.homes.of(accountId)
  return shared.key(accountId, key.id).catch(() => undefined)
}

async function budgetsOf(gateway: Gateway, caller: Caller, key: KeyFacts) {
  const { books, clock } = gateway.platform
  const now = clock.now()
  const record = await recordOf(gateway, caller, key)
  return Promise.all(
    key.budgets.map(async ({ limit, window }) => {
      const period = periodStart(window, now)
      const known = record?.windows.find((one) => one.window === window && one.period === period)
      const spent = known?.spent ?? (await books.spent(key.id, window, period))
      const held = record?.held ?? 0n
      const end = periodEnd(window, now)
      return {
        window,
        limit: printMoney(limit),
        spent: printMoney(spent),
        held: printMoney(held),
        remaining: printMoney(limit > spent + held ? limit - spent - held : 0n),
        resets_at: Number.isFinite(end) ? new Date(end).toISOString() : null,
      }
    }),
  )
}

async function creditsOf({ platform, ledger }: Gateway, caller: Caller) {
  await ledger.batcher.drained(freshMs)
  const purses = await platform.books.purses(caller.accountId)
  const { shared } = ledger.homes.of(caller.accountId)
  const records = (await shared.account(caller.accountId).catch(() => undefined))?.purses ?? []
  const shown = purses.map((purse) => ({ ...purse, held: records.find(({ id }) => id === purse.id)?.held ?? 0n }))
  const money = shown.filter(({ asset }) => asset !== tokenAsset)
  const posted = money.reduce((sum, purse) => sum + purse.posted, 0n)
  const held = money.reduce((sum, purse) => sum + purse.held, 0n)
  return {
    object: 'credits',
    currency: caller.currency,
    balance: printMoney(posted),
    held: printMoney(held),
    available: printMoney(posted - held),
    // In the order in which they pay.
    purses: shown.map(purseJson),
  }
}

function purseJson({ kind, asset, models, expiresAtMs, posted, held }: Purse & { readonly held: bigint }) {
  const print = asset === tokenAsset ? printTokens : printMoney
  return {
    kind,
    asset,
    balance: print(posted),
    held: print(held),
    available: print(posted - held),
    models,
    expires_at: expiresAtMs === undefined ? null : new Date(expiresAtMs).toISOString(),
  }
}

function receiptJson(receipt: Receipt) {
  const { counts } = receipt
  const input = inputTotal(counts)
  const output = outputTotal(counts)
  return {
    object: 'generation',
    id: receipt.id,
    model: receipt.model,
    vendor: receipt.vendor,
    vendor_model: receipt.vendorModel,
    served_model: receipt.servedModel ?? null,
    service_tier: receipt.serviceTier ?? null,
    length_tier: receipt.lengthTier ?? null,
    outcome: receipt.outcome,
    finish_reason: receipt.finish ?? null,
    error: receipt.error ?? null,
    stream: receipt.stream,
    usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output, counts },
    usage_source: receipt.source,
    tokenizer: receipt.tokenizer ?? null,
    anomalies: receipt.anomalies,
    currency: receipt.currency,
    cost: printMoney(receipt.charge),
    priced: printMoney(receipt.priced),
    created_at: new Date(receipt.startedAtMs).toISOString(),
    latency_ms: receipt.endedAtMs - receipt.startedAtMs,
    first_byte_ms: receipt.firstByteMs ?? null,
    attempts: receipt.attempts,
    client_request_id: receipt.clientRequestId ?? null,
  }
}
