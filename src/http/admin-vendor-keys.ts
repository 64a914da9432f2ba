import { and, asc, eq } from 'drizzle-orm'
import { Hono } from 'hono'
import { z } from 'zod'
import type { Catalog } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import { globLimits } from '../core/glob.ts'
import { region } from '../core/model-rules.ts'
import { keyPriorities, keysOf, type VendorKey } from '../core/routing.ts'
import { oneLineKey, vendorKeyText } from '../core/vendor-key-text.ts'
import type { Session } from '../db/database.ts'
import { vendor as vendorTable, vendorKey } from '../db/schema.ts'
import { resealKeys, sealedFor } from '../gateway/vendor-key-rows.ts'
import type { Seal } from '../ports.ts'
import { type AdminDeps, requireManagement } from './admin-keys.ts'
import { fields, readBody, refuseOthers } from './input.ts'

export interface VendorKeyDeps extends Pick<AdminDeps, 'database' | 'auth'> {
  readonly seal: Pick<Seal, 'seal' | 'reseal'>
  catalog(): Catalog
  /** Hears of every change once it is in the database; the answer waits until calls are served by it. */
  catalogChanged(): Promise<void>
}

const resealPath = '/admin/v1/vendor-keys/reseal'
const listPath = '/admin/v1/vendors/:vendor/keys'
const onePath = `${listPath}/:name` as const
/** Of one vendor. */
const maxKeys = 1_000
const maxScenarios = 50

const word = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, {
  error: 'must be letters, digits, "_", "." and "-", at most 64',
})
const secret = z
  .string({ error: 'must be the key, a string' })
  .min(1, { error: 'must be the key, a string' })
  .regex(vendorKeyText.pattern, { error: vendorKeyText.rule })
  .transform(oneLineKey)
const pattern = z
  .string()
  .regex(/^[\x21-\x7e]{1,200}$/, { error: 'must be patterns of model names, in which * stands for anything' })

const purpose = {
  models: z
    .array(pattern, { error: 'must be a list of patterns' })
    .max(globLimits.patterns, { error: `must hold at most ${globLimits.patterns} patterns` }),
  scenarios: z
    .array(word, { error: 'must be a list of scenarios' })
    .max(maxScenarios, { error: `must hold at most ${maxScenarios} scenarios` }),
  priority: z.enum(keyPriorities, { error: `must be one of: ${keyPriorities.join(', ')}` }),
  region: z.string().regex(region.pattern, { error: region.error }).nullable(),
  disabled: z.boolean({ error: 'must be true or false' }),
}

const newVendorKey = fields({
  name: word,
  key: secret,
  models: purpose.models.default([]),
  scenarios: purpose.scenarios.default([]),
  priority: purpose.priority.default('normal'),
  region: purpose.region.default(null),
  disabled: purpose.disabled.default(false),
})

const change = fields({
  key: secret.optional(),
  models: purpose.models.optional(),
  scenarios: purpose.scenarios.optional(),
  priority: purpose.priority.optional(),
  region: purpose.region.optional(),
  disabled: purpose.disabled.optional(),
})

/** Our keys at vendors: for management keys alone. They go in and are never shown again. */
export function adminVendorKeys(deps: VendorKeyDeps): Hono {
  const app = new Hono()
  const { database, catalog } = deps
  const allow = (request: Request) => requireManagement(deps, request, 'Vendor keys are')

  app.get(listPath, async (c) => {
    await allow(c.req.raw)
    const id = knownVendor(catalog(), c.req.param('vendor'))
    return c.json({ object: 'list', data: await listed(database, id, catalog()) })
  })

  app.post(listPath, async (c) => {
    await allow(c.req.raw)
    const id = knownVendor(catalog(), c.req.param('vendor'))
    const wanted = await readBody(c.req.raw, newVendorKey)
    await database.transaction((session) => add(deps, session, { id, wanted }))
    await deps.catalogChanged()
    return c.json(keyJson(await oneRow(database, id, wanted.name)), 201)
  })

  app.patch(onePath, async (c) => {
    await allow(c.req.raw)
    const [id, name] = [knownVendor(catalog(), c.req.param('vendor')), c.req.param('name')]
    const { key, ...wanted } = await readBody(c.req.raw, change)
    await oneRow(database, id, name)
    const sealed = key === undefined ? undefined : deps.seal.seal(key, sealedFor(id, name))
    const columns = { ...wanted, ...(sealed !== undefined && { sealed }) }
    const given = Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined))
    if (Object.keys(given).length > 0) await database.drizzle.update(vendorKey).set(given).where(named(id, name))
    await deps.catalogChanged()
    return c.json(keyJson(await oneRow(database, id, name)))
  })

  app.delete(onePath, async (c) => {
    await allow(c.req.raw)
    const [id, name] = [knownVendor(catalog(), c.req.param('vendor')), c.req.param('name')]
    await oneRow(database, id, name)
    await database.drizzle.delete(vendorKey).where(named(id, name))
    await deps.catalogChanged()
    return c.json({ object: 'vendor_key', vendor: id, name, deleted: true })
  })

  app.post(resealPath, async (c) => {
    await allow(c.req.raw)
    return c.json({ object: 'vendor_keys_resealed', ...(await resealKeys(database, deps.seal)) })
  })

  refuseOthers(app, resealPath, 'POST')
  refuseOthers(app, listPath, 'GET and POST')
  refuseOthers(app, onePath, 'PATCH and DELETE')
  return app
}

type Row = typeof vendorKey.$inferSelect

const named = (id: string, name: string) => and(eq(vendorKey.vendor, id), eq(vendorKey.name, name))

function knownVendor({ vendors }: Catalog, id: string): string {
  if (!vendors.has(id)) throw new GatewayError('not_found', 'There is no vendor of this name.')
  return id
}

/** Throws `not_found`. */
async function oneRow({ drizzle }: Session, id: string, name: string): Promise<Row> {
  const [row] = await drizzle.select().from(vendorKey).where(named(id, name)).limit(1)
  if (!row) throw new GatewayError('not_found', 'There is no such key of this vendor in the database.')
  return row
}

interface Adding {
  readonly id: string
  readonly wanted: z.output<typeof newVendorKey>
}

async function add({ seal, catalog }: VendorKeyDeps, { drizzle }: Session, { id, wanted }: Adding): Promise<void> {
  const { key, ...columns } = wanted
  // Whoever adds the next key of the vendor waits: two of one name would be counted as none.
  await drizzle.select().from(vendorTable).where(eq(vendorTable.id, id)).limit(1).for('update')
  const rows = await drizzle.select({ name: vendorKey.name }).from(vendorKey).where(eq(vendorKey.vendor, id))
  const inFile = provisioned(catalog(), id, new Set(rows.map(({ name }) => name)))
  if ([...rows.map(({ name }) => name), ...inFile.map((one) => one.id)].includes(columns.name))
    throw new GatewayError('conflict', 'The vendor has a key of this name already.', { param: 'name' })
  if (rows.length >= maxKeys) throw new GatewayError('conflict', `The vendor has ${maxKeys} keys, which is the most.`)
  const sealed = seal.seal(key, sealedFor(id, columns.name))
  await drizzle.insert(vendorKey).values({ ...columns, vendor: id, sealed })
}

/** Keys that are in the catalog and not in the database come from the file. */
function provisioned({ vendors }: Catalog, id: string, stored: ReadonlySet<string>): readonly VendorKey[] {
  const entry = vendors.get(id)
  return entry ? keysOf(entry).filter((key) => !stored.has(key.id)) : []
}

async function listed({ drizzle }: Session, id: string, catalog: Catalog) {
  const rows = await drizzle.select().from(vendorKey).where(eq(vendorKey.vendor, id)).orderBy(asc(vendorKey.id))
  const inFile = provisioned(catalog, id, new Set(rows.map(({ name }) => name)))
  return [
    ...inFile.map(({ id: name, models, scenarios, priority, region: where }) => ({
      object: 'vendor_key',
      vendor: id,
      name,
      models,
      scenarios,
      priority,
      region: where ?? null,
      disabled: false,
      provisioned: true,
      created_at: null,
    })),
    ...rows.map(keyJson),
  ]
}

/** Never the key itself, sealed or not. */
function keyJson({ vendor, name, models, scenarios, priority, region: where, disabled, createdAt }: Row) {
  return {
    object: 'vendor_key',
    vendor,
    name,
    models,
    scenarios,
    priority,
    region: where,
    disabled,
    provisioned: false,
    created_at: createdAt.toISOString(),
  }
}
