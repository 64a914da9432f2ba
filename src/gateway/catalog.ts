import { and, asc, eq, inArray, notInArray, or, sql } from 'drizzle-orm'
import { defaultLimits, type Config } from '../config.ts'
import type { CachePolicy } from '../core/caching.ts'
import type { Target } from '../core/call.ts'
import type { Catalog, Model, Policies, VendorEntry } from '../core/catalog.ts'
import { maxModels, maxTargets } from '../core/model-rules.ts'
import type { PriceSet } from '../core/price.ts'
import type { RoutingPolicy } from '../core/routing.ts'
import type { Database, Session } from '../db/database.ts'
import { model as modelTable, setting, target as targetTable, vendor as vendorTable, vendorKey } from '../db/schema.ts'
import { chunks } from './chunks.ts'
import { openPrices, openRows, pricesOf, setPrices } from './price-rows.ts'
import { storedCaching, storedRouting, storedTarget } from './stored-routing.ts'
import { type OpenKey, withStoredKeys } from './vendor-key-rows.ts'

/** Those of the file and as many of the API; a table that grew beyond it is not read without bound. */
const maxModelRows = 2 * maxModels
const maxTargetRows = maxModelRows * maxTargets
const maxVendors = 10_000

/** The catalog of the file alone, for platforms without a database. */
export function buildCatalog({ models, vendors, exchange }: Catalog): Catalog {
  return Object.freeze({ models, vendors, ...(exchange && { exchange }) })
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

/** A vendor that left the file stays for as long as a target of the API names it or a key of the database is its own. */
async function removeVendors({ drizzle }: Session, ids: readonly string[]): Promise<void> {
  const used = drizzle.select({ id: targetTable.vendor }).from(targetTable)
  const keyed = drizzle.select({ id: vendorKey.vendor }).from(vendorKey)
  await drizzle
    .delete(vendorTable)
    .where(
      and(
        eq(vendorTable.provisioned, true),
        notInArray(vendorTable.id, [...ids]),
        notInArray(vendorTable.id, used),
        notInArray(vendorTable.id, keyed),
      ),
    )
}

async function provisionModels({ drizzle }: Session, models: readonly Model[]): Promise<void> {
  for (const rows of chunks(models)) {
    await drizzle
      .insert(modelTable)
      .values(
        rows.map(({ name, maxOutputTokens, tokenWeights = {}, policies }) => ({
          name,
          maxOutputTokens,
          tokenWeights,
          policies: { ...policies },
          provisioned: true,
        })),
      )
      .onConflictDoUpdate({
        target: modelTable.name,
        set: {
          maxOutputTokens: sql`excluded.max_output_tokens`,
          tokenWeights: sql`excluded.token_weights`,
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
    .limit(maxTargetRows)
  const gone = present.filter(({ target }) => !wanted.delete(identity(target))).map(({ target }) => target.id)
  for (const ids of chunks(gone)) await drizzle.delete(targetTable).where(inArray(targetTable.id, ids))
  for (const some of chunks([...wanted.values()])) await drizzle.insert(targetTable).values(some)
}

async function provisionPrices(session: Session, models: readonly Model[]): Promise<void> {
  const rows = models.flatMap(({ name, prices }) => (prices === undefined ? [] : pricesOf(name, prices)))
  await setPrices(session, eq(modelTable.provisioned, true), rows)
}

/** What of the configuration the catalog is made of. */
type Offer = Pick<Config, 'models' | 'vendors' | 'policies' | 'caching' | 'routing'> & Pick<Catalog, 'exchange'>

/**
 * What is offered now: the models and vendors of the file, with the day on which the database first saw them, and
 * those that the API manages beside them.
 */
export async function loadCatalog(database: Session, config: Offer, openKey?: OpenKey): Promise<Catalog> {
  const { drizzle } = database
  const models = await drizzle
    .select()
    .from(modelTable)
    // Those that left the file stay in the table for ever: they are not read.
    .where(or(eq(modelTable.provisioned, false), eq(modelTable.disabled, false)))
    .orderBy(asc(modelTable.name))
    .limit(maxModelRows)
  const managed = models.filter(({ name, disabled }) => !disabled && !config.models.has(name))
  const targets = groupBy(managed.length === 0 ? [] : await managedTargets(database), ({ model }) => model)
  const prices = groupBy(managed.length === 0 ? [] : await openRows(database), ({ model }) => model)
  const vendors = await drizzle.select().from(vendorTable).where(eq(vendorTable.provisioned, false)).limit(maxVendors)
  const created = new Map(models.map(({ name, createdAt }) => [name, createdAt.getTime()]))
  const known = new Map([
    // No key of these is in the file: they are live once the database has one.
    ...vendors.map(({ id, adapter, baseUrl }): [string, VendorEntry] => [
      id,
      Object.freeze({ id, adapter, baseUrl, apiKeys: [], limits: defaultLimits }),
    ]),
    ...config.vendors,
  ])
  return buildCatalog({
    models: new Map([
      ...[...config.models.values()].map((model): [string, Model] => [
        model.name,
        Object.freeze({ ...model, createdAtMs: created.get(model.name) ?? model.createdAtMs }),
      ]),
      ...managed.map((row): [string, Model] => [
        row.name,
        managedModel(row, {
          targets: targets.get(row.name) ?? [],
          prices: openPrices(prices.get(row.name) ?? []),
          defaults: config.policies,
          routing: config.routing,
          caching: config.caching,
        }),
      ]),
    ]),
    vendors: openKey ? await withStoredKeys(database, known, openKey) : known,
    ...(config.exchange && { exchange: config.exchange }),
  })
}

type ModelRow = typeof modelTable.$inferSelect
type TargetRow = typeof targetTable.$inferSelect

async function managedTargets({ drizzle }: Session): Promise<TargetRow[]> {
  return drizzle.select().from(targetTable).orderBy(asc(targetTable.position), asc(targetTable.id)).limit(maxTargetRows)
}

interface Parts {
  readonly targets: readonly TargetRow[]
  readonly prices: PriceSet | undefined
  readonly defaults: Policies
  readonly routing: RoutingPolicy | undefined
  readonly caching: CachePolicy | undefined
}

function managedModel(row: ModelRow, { targets, prices, defaults, routing: usual, caching: kept }: Parts): Model {
  const routing = storedRouting(row.routing, usual)
  const caching = storedCaching(row.cache, kept)
  return Object.freeze({
    name: row.name,
    targets: targets.map(({ vendor, vendorModel, region, options }) => ({
      vendor,
      model: vendorModel,
      ...(region === null ? {} : { region }),
      ...storedTarget(options),
    })),
    ...(prices === undefined ? {} : { prices }),
    ...(routing && { routing }),
    ...(Object.keys(row.tokenWeights).length > 0 && { tokenWeights: row.tokenWeights }),
    maxOutputTokens: row.maxOutputTokens,
    policies: policiesOf(row, defaults),
    ...(caching && { caching }),
    createdAtMs: row.createdAt.getTime(),
    provisioned: false,
  })
}

/** The policies of a stored model: its own, and for what it does not say the operator's defaults. */
export function policiesOf({ policies }: Pick<ModelRow, 'policies'>, defaults: Policies): Policies {
  return { ...defaults, ...(policies as Partial<Policies>) }
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

function groupBy<Item>(items: readonly Item[], name: (item: Item) => string): ReadonlyMap<string, readonly Item[]> {
  return Map.groupBy(items, name)
}
