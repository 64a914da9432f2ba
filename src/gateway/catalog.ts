import { and, asc, eq, gt, inArray, isNull, lte, notInArray, or, sql, type SQL } from 'drizzle-orm'
import { defaultLimits, defaultPolicies, type Config } from '../config.ts'
import type { Target } from '../core/call.ts'
import type { Catalog, Model, Policies, VendorEntry } from '../core/catalog.ts'
import { fullPricePpm, priceSet } from '../core/price-set.ts'
import { unitNames, type PriceSet, type Unit } from '../core/price.ts'
import type { Database, Session } from '../db/database.ts'
import { model as modelTable, price, setting, target as targetTable, vendor as vendorTable } from '../db/schema.ts'

/** More than any catalog has; a table that grew beyond it is not read without bound. */
const maxModels = 10_000
const maxRows = 200_000
/** PostgreSQL takes 65,535 parameters in a statement; no row here has more than ten. */
const rowsAtOnce = 1_000
const listBook = 'list'

/** The database's own clock, as coarse as its columns: what begins now has begun for whoever asks next. */
const nowSql = sql`date_trunc('milliseconds', now())`

/** The catalog of the file alone, for platforms without a database. */
export function buildCatalog({ models, vendors }: Pick<Config, 'models' | 'vendors'>): Catalog {
  return Object.freeze({ models, vendors })
}

/**
 * Brings the database in line with the file, in one transaction. What is in the file becomes `provisioned` and is
 * taken over if the API had made it; models that left the file are disabled, their targets removed and their prices
 * ended. A changed price ends its row and opens another; an unchanged one keeps its row. Doing it again changes nothing.
 */
export async function provision(database: Database, config: Pick<Config, 'models' | 'vendors'>): Promise<void> {
  const models = [...config.models.values()]
  await database.transaction(async (session) => {
    await lockProvisioning(session)
    await provisionVendors(session, [...config.vendors.values()])
    await provisionModels(session, models)
    await provisionTargets(session, models)
    await provisionPrices(session, models)
    await removeVendors(session, [...config.vendors.keys()])
  })
}

/** Replicas that start together take turns: the row stays locked until the transaction ends. */
async function lockProvisioning({ drizzle }: Session): Promise<void> {
  const row = { name: 'provisioning', value: {} }
  await drizzle
    .insert(setting)
    .values(row)
    .onConflictDoUpdate({ target: setting.name, set: { value: {} } })
}

async function provisionVendors({ drizzle }: Session, vendors: readonly VendorEntry[]): Promise<void> {
  for (const rows of chunks(vendors)) {
    await drizzle
      .insert(vendorTable)
      .values(rows.map(({ id, adapter, baseUrl }) => ({ id, adapter, baseUrl, provisioned: true })))
      .onConflictDoUpdate({
        target: vendorTable.id,
        set: { adapter: sql`excluded.adapter`, baseUrl: sql`excluded.base_url`, provisioned: true },
      })
  }
}

/** A vendor that left the file stays for as long as a target of the API names it. */
async function removeVendors({ drizzle }: Session, ids: readonly string[]): Promise<void> {
  const used = drizzle.select({ id: targetTable.vendor }).from(targetTable)
  await drizzle
    .delete(vendorTable)
    .where(
      and(eq(vendorTable.provisioned, true), notInArray(vendorTable.id, [...ids]), notInArray(vendorTable.id, used)),
    )
}

async function provisionModels({ drizzle }: Session, models: readonly Model[]): Promise<void> {
  for (const rows of chunks(models)) {
    await drizzle
      .insert(modelTable)
      .values(
        rows.map(({ name, maxOutputTokens, policies }) => ({
          name,
          maxOutputTokens,
          policies: { ...policies },
          provisioned: true,
        })),
      )
      .onConflictDoUpdate({
        target: modelTable.name,
        set: {
          maxOutputTokens: sql`excluded.max_output_tokens`,
          policies: sql`excluded.policies`,
          disabled: false,
          provisioned: true,
        },
      })
  }
  const names = models.map(({ name }) => name)
  await drizzle
    .update(modelTable)
    .set({ disabled: true })
    .where(and(eq(modelTable.provisioned, true), eq(modelTable.disabled, false), notInArray(modelTable.name, names)))
}

async function provisionTargets({ drizzle }: Session, models: readonly Model[]): Promise<void> {
  const rows = models.flatMap(({ name, targets }) =>
    targets.map(({ vendor, model, region }, position) => ({
      model: name,
      position,
      vendor,
      vendorModel: model,
      region: region ?? null,
      provisioned: true,
    })),
  )
  const identity = (row: (typeof rows)[number]): string =>
    JSON.stringify([row.model, row.position, row.vendor, row.vendorModel, row.region, row.provisioned])
  const wanted = new Map(rows.map((row) => [identity(row), row]))
  const present = await drizzle
    .select({ target: targetTable })
    .from(targetTable)
    .innerJoin(modelTable, eq(modelTable.name, targetTable.model))
    .where(eq(modelTable.provisioned, true))
    .limit(maxRows)
  const gone = present.filter(({ target }) => !wanted.delete(identity(target))).map(({ target }) => target.id)
  for (const ids of chunks(gone)) await drizzle.delete(targetTable).where(inArray(targetTable.id, ids))
  for (const some of chunks([...wanted.values()])) await drizzle.insert(targetTable).values(some)
}

async function provisionPrices({ drizzle }: Session, models: readonly Model[]): Promise<void> {
  const rows = models.flatMap(({ name, prices }) =>
    unitNames.flatMap((unit) => {
      const nanos = prices?.nanos[unit]
      return prices === undefined || nanos === undefined
        ? []
        : [{ model: name, unit, currency: prices.currency, nanos }]
    }),
  )
  const identity = (row: (typeof rows)[number]): string =>
    JSON.stringify([row.model, row.unit, row.currency, String(row.nanos)])
  const wanted = new Map(rows.map((row) => [identity(row), row]))
  const present = await drizzle
    .select({ price, begun: sql<boolean>`${price.validFrom} <= ${nowSql}` })
    .from(price)
    .innerJoin(modelTable, eq(modelTable.name, price.model))
    .where(
      and(
        eq(modelTable.provisioned, true),
        eq(price.book, listBook),
        or(isNull(price.validTo), gt(price.validTo, nowSql)),
      ),
    )
    .limit(maxRows)
  const stays = (row: (typeof present)[number]): boolean =>
    row.begun && row.price.validTo === null && row.price.tier === '' && wanted.delete(identity(row.price))
  const ended = present.filter((row) => !stays(row)).map((row) => row.price.id)
  for (const ids of chunks(ended)) {
    // A price that has not begun ends where it begins: its row stays, and holds for no moment.
    await drizzle
      .update(price)
      .set({ validTo: sql`greatest(${price.validFrom}, ${nowSql})` })
      .where(inArray(price.id, ids))
  }
  for (const some of chunks([...wanted.values()])) {
    await drizzle.insert(price).values(some.map((row) => ({ ...row, book: listBook, validFrom: nowSql })))
  }
}

/**
 * What is offered now: the models and vendors of the file, with the day on which the database first saw them, and
 * those that the API manages beside them.
 */
export async function loadCatalog(database: Session, config: Pick<Config, 'models' | 'vendors'>): Promise<Catalog> {
  const { drizzle } = database
  const models = await drizzle.select().from(modelTable).orderBy(asc(modelTable.name)).limit(maxModels)
  const managed = models.filter(({ name, disabled }) => !disabled && !config.models.has(name))
  const targets = groupBy(managed.length === 0 ? [] : await managedTargets(database), ({ model }) => model)
  const prices = groupBy(managed.length === 0 ? [] : await managedPrices(database), ({ model }) => model)
  const vendors = await drizzle.select().from(vendorTable).where(eq(vendorTable.provisioned, false)).limit(maxModels)
  const created = new Map(models.map(({ name, createdAt }) => [name, createdAt.getTime()]))
  return buildCatalog({
    models: new Map([
      ...[...config.models.values()].map((model): [string, Model] => [
        model.name,
        Object.freeze({ ...model, createdAtMs: created.get(model.name) ?? model.createdAtMs }),
      ]),
      ...managed.map((row): [string, Model] => [
        row.name,
        managedModel(row, targets.get(row.name) ?? [], openPrices(prices.get(row.name) ?? [])),
      ]),
    ]),
    vendors: new Map([
      // No key is kept in the database, so a vendor of the API is not live until the file has keys for it.
      ...vendors.map(({ id, adapter, baseUrl }): [string, VendorEntry] => [
        id,
        Object.freeze({ id, adapter, baseUrl, apiKeys: [], limits: defaultLimits }),
      ]),
      ...config.vendors,
    ]),
  })
}

type ModelRow = typeof modelTable.$inferSelect
type TargetRow = typeof targetTable.$inferSelect
type PriceRow = typeof price.$inferSelect

async function managedTargets({ drizzle }: Session): Promise<TargetRow[]> {
  return drizzle.select().from(targetTable).orderBy(asc(targetTable.position), asc(targetTable.id)).limit(maxRows)
}

async function managedPrices({ drizzle }: Session): Promise<PriceRow[]> {
  const open = and(
    eq(price.book, listBook),
    eq(price.tier, ''),
    lte(price.validFrom, nowSql),
    or(isNull(price.validTo), gt(price.validTo, nowSql)),
  ) as SQL
  return drizzle.select().from(price).where(open).limit(maxRows)
}

function managedModel(row: ModelRow, targets: readonly TargetRow[], prices: PriceSet | undefined): Model {
  return Object.freeze({
    name: row.name,
    targets: targets.map(({ vendor, vendorModel, region }) => ({
      vendor,
      model: vendorModel,
      ...(region === null ? {} : { region }),
    })),
    ...(prices === undefined ? {} : { prices }),
    maxOutputTokens: row.maxOutputTokens,
    policies: { ...defaultPolicies, ...(row.policies as Partial<Policies>) },
    createdAtMs: row.createdAt.getTime(),
    provisioned: false,
  })
}

/** A model is sold in one currency: in dollars where it has such prices, else in the first that it has any in. */
function openPrices(rows: readonly PriceRow[]): PriceSet | undefined {
  const currencies = rows.map(({ currency }) => currency).toSorted()
  const currency = currencies.includes('USD') ? 'USD' : currencies[0]
  if (currency === undefined) return undefined
  const nanos = Object.fromEntries(
    rows.filter((row) => row.currency === currency).map((row): [Unit, bigint] => [row.unit, row.nanos]),
  )
  return priceSet({ currency, nanos, discountPpm: fullPricePpm })
}

/**
 * The model that a caller names: by its exact public name, or as `vendor/model` of one of its targets, which narrows
 * it to that target. Nothing is guessed: no patterns, no other case. The model keeps its public name either way, and
 * that is the name to check against allow-lists.
 */
export function findModel(catalog: Catalog, name: string): Model | undefined {
  return catalog.models.get(name) ?? narrowed(catalog).get(name)
}

/** Built once for each catalog, which never changes. */
const byTarget = new WeakMap<Catalog, ReadonlyMap<string, Model>>()

function narrowed(catalog: Catalog): ReadonlyMap<string, Model> {
  const known = byTarget.get(catalog)
  if (known !== undefined) return known
  const found = new Map<string, Model>()
  for (const model of catalog.models.values()) {
    for (const { vendor, model: vendorModel } of model.targets) {
      const name = `${vendor}/${vendorModel}`
      // Of several models with this target, the one that bears its name; else the first, so that the order decides.
      if (found.has(name) && model.name !== vendorModel) continue
      const only = (target: Target): boolean => target.vendor === vendor && target.model === vendorModel
      found.set(name, Object.freeze({ ...model, targets: model.targets.filter(only) }))
    }
  }
  byTarget.set(catalog, found)
  return found
}

function* chunks<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let at = 0; at < items.length; at += rowsAtOnce) yield items.slice(at, at + rowsAtOnce)
}

function groupBy<Item>(items: readonly Item[], name: (item: Item) => string): ReadonlyMap<string, readonly Item[]> {
  return Map.groupBy(items, name)
}
