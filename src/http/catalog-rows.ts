import { and, asc, desc, eq, gt, inArray, lt } from 'drizzle-orm'
import type { z } from 'zod'
import type { JsonObject } from '../core/call.ts'
import type { Catalog, Policies } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { printTokens, type TokenWeights } from '../core/tokens.ts'
import { maxModels, modelName } from '../core/model-rules.ts'
import type { UnitPrices } from '../core/price.ts'
import { printCondition } from '../core/rates.ts'
import type { Session } from '../db/database.ts'
import { model, price, target, vendor } from '../db/schema.ts'
import { policiesOf } from '../gateway/catalog.ts'
import { heldOnce, openPrices, openRows, pricesOf, setPrices } from '../gateway/price-rows.ts'
import type { historyQuery, modelsQuery, NewModel, NewPrices, vendorsQuery } from './catalog-input.ts'

type ModelRow = typeof model.$inferSelect
type TargetRow = typeof target.$inferSelect
type VendorRow = typeof vendor.$inferSelect

/** A model as it is shown. */
interface Shown {
  readonly row: ModelRow
  /** Best first. */
  readonly targets: readonly TargetRow[]
}

/** A part per million of one, as money is printed. */
const nanosPerPpm = 1_000n

const unknownModel = (): GatewayError => new GatewayError('not_found', 'There is no model of this name.')

/** In the file as it is now: read-only. A model that left the file stays as one that is disabled. */
const isDeclared = ({ provisioned, disabled }: ModelRow): boolean => provisioned && !disabled

/** Throws `not_found`. */
export async function oneModel(session: Session, name: string): Promise<Shown> {
  if (!modelName.pattern.test(name)) throw unknownModel()
  const [row] = await session.drizzle.select().from(model).where(eq(model.name, name)).limit(1)
  if (row === undefined) throw unknownModel()
  return { row, targets: await targetsOf(session, [name]) }
}

async function targetsOf({ drizzle }: Session, names: readonly string[]): Promise<TargetRow[]> {
  if (names.length === 0) return []
  return drizzle
    .select()
    .from(target)
    .where(inArray(target.model, [...names]))
    .orderBy(asc(target.position), asc(target.id))
}

/** By name. The cursor is the name of the last model of the page before. */
export async function pageOfModels(session: Session, { limit, cursor }: z.output<typeof modelsQuery>) {
  const rows = await session.drizzle
    .select()
    .from(model)
    .where(cursor === undefined ? undefined : gt(model.name, cursor))
    .orderBy(asc(model.name))
    .limit(limit + 1)
  const shown = rows.slice(0, limit)
  const targets = Map.groupBy(
    await targetsOf(
      session,
      shown.map(({ name }) => name),
    ),
    (row) => row.model,
  )
  return {
    data: shown.map((row): Shown => ({ row, targets: targets.get(row.name) ?? [] })),
    next_cursor: rows.length > limit ? (shown.at(-1)?.name ?? null) : null,
  }
}

/**
 * The row for a change: inside a transaction, and nobody else changes the model or its prices until that ends.
 * Undefined where there is none. Throws `conflict` for a model of the file.
 */
async function lockedModel({ drizzle }: Session, name: string): Promise<ModelRow | undefined> {
  if (!modelName.pattern.test(name)) return undefined
  const [row] = await drizzle.select().from(model).where(eq(model.name, name)).limit(1).for('update')
  if (row && isDeclared(row))
    throw new GatewayError('conflict', 'The model comes from the configuration: change it there.')
  return row
}

/** Makes the model, or replaces all of it but its prices. Says whether it is new. */
export async function putModel(session: Session, name: string, wanted: NewModel): Promise<boolean> {
  const { drizzle } = session
  const known = await lockedModel(session, name)
  if (known === undefined) await checkRoom(session)
  const columns = {
    maxOutputTokens: wanted.max_output_tokens,
    tokenWeights: (wanted.token_weights ?? {}) as TokenWeights,
    policies: { ...wanted.policies },
    routing: wanted.routing as JsonObject,
    cache: wanted.cache as JsonObject,
    disabled: wanted.disabled,
    // A model that left the file is the API's from here on.
    provisioned: false,
  }
  await drizzle
    .insert(model)
    .values({ name, ...columns })
    .onConflictDoUpdate({ target: model.name, set: columns })
  await drizzle.delete(target).where(eq(target.model, name))
  await drizzle.insert(target).values(
    wanted.targets.map(({ vendor: id, model: vendorModel, region, ...options }, position) => ({
      model: name,
      position,
      vendor: id,
      vendorModel,
      region: region ?? null,
      options: options as JsonObject,
    })),
  )
  return known === undefined
}

/** More would not be loaded. */
async function checkRoom({ drizzle }: Session): Promise<void> {
  const count = await drizzle.$count(model, eq(model.provisioned, false))
  if (count >= maxModels)
    throw new GatewayError('conflict', `There are ${maxModels} models beside those of the file, which is the most.`)
}

/** Also ends its prices: a model made later under this name starts without any. Their history stays. */
export async function deleteModel(session: Session, name: string): Promise<void> {
  if ((await lockedModel(session, name)) === undefined) throw unknownModel()
  await setPrices(session, eq(model.name, name), [])
  await session.drizzle.delete(model).where(eq(model.name, name))
}

/** The model is sold at these prices from now on, and at no others. */
export async function putPrices(session: Session, name: string, { currency, nanos }: NewPrices): Promise<void> {
  const row = await lockedModel(session, name)
  if (row === undefined) throw unknownModel()
  if (row.provisioned)
    throw new GatewayError('conflict', 'The model has left the configuration: PUT the model itself first.')
  await setPrices(session, eq(model.name, name), pricesOf(name, { currency, nanos }))
}

/** What the model costs now, and what it has cost, newest first. The cursor is the id of a row. */
export async function pricesJson(session: Session, name: string, { limit, cursor }: z.output<typeof historyQuery>) {
  const now = openPrices(await openRows(session, name))
  const rows = await session.drizzle
    .select()
    .from(price)
    .where(and(heldOnce(name), cursor === undefined ? undefined : lt(price.id, cursor)))
    .orderBy(desc(price.id))
    .limit(limit + 1)
  const history = rows.slice(0, limit)
  return {
    object: 'prices',
    model: name,
    currency: now?.currency ?? null,
    free: Object.values(now?.nanos ?? {}).includes(0n),
    prices: printPrices(now?.nanos ?? {}),
    rates: (now?.rates ?? []).map(({ when, nanos, tokensPpm }) => ({
      when: printCondition(when),
      prices: printPrices(nanos),
      token_multiplier: tokensPpm === undefined ? null : printMoney(BigInt(tokensPpm) * nanosPerPpm),
    })),
    history: history.map(({ unit, tier, currency, nanos: each, validFrom, validTo }) => ({
      unit,
      when: tier === '' ? null : tier,
      currency,
      price: printMoney(each),
      valid_from: validFrom.toISOString(),
      valid_to: validTo?.toISOString() ?? null,
    })),
    next_cursor: rows.length > limit ? String(history.at(-1)?.id) : null,
  }
}

function printPrices(nanos: UnitPrices): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(nanos).map(([unit, each]) => [unit, printMoney(each)]))
}

export function modelJson({ row, targets }: Shown, defaults: Policies) {
  const { unstreamed, clientAbort, abortBeforeContent } = policiesOf(row, defaults)
  const weights = Object.entries(row.tokenWeights).map(([unit, micro]) => [unit, printTokens(BigInt(micro))])
  return {
    object: 'model',
    name: row.name,
    targets: targets.map(({ vendor: id, vendorModel, region, options }) => ({
      vendor: id,
      model: vendorModel,
      region,
      ...options,
    })),
    max_output_tokens: row.maxOutputTokens,
    ...(weights.length > 0 && { token_weights: Object.fromEntries(weights) }),
    policies: { unstreamed, client_abort: clientAbort, abort_before_content: abortBeforeContent },
    ...(Object.keys(row.routing).length > 0 && { routing: row.routing }),
    ...(Object.keys(row.cache).length > 0 && { cache: row.cache }),
    disabled: row.disabled,
    provisioned: isDeclared(row),
    created_at: row.createdAt.toISOString(),
  }
}

/** By id. The cursor is the id of the last vendor of the page before. */
export async function pageOfVendors({ drizzle }: Session, { limit, cursor }: z.output<typeof vendorsQuery>) {
  const rows = await drizzle
    .select()
    .from(vendor)
    .where(cursor === undefined ? undefined : gt(vendor.id, cursor))
    .orderBy(asc(vendor.id))
    .limit(limit + 1)
  const data = rows.slice(0, limit)
  return { data, next_cursor: rows.length > limit ? (data.at(-1)?.id ?? null) : null }
}

/** Never its keys. A vendor that left the file, and that a model still names, is neither live nor provisioned. */
export function vendorJson({ id, adapter, baseUrl, provisioned }: VendorRow, { vendors }: Catalog) {
  const entry = vendors.get(id)
  return {
    object: 'vendor',
    id,
    adapter,
    base_url: baseUrl,
    live: (entry?.apiKeys.length ?? 0) > 0,
    provisioned: provisioned && entry !== undefined,
  }
}
