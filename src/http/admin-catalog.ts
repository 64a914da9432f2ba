import { Hono } from 'hono'
import type { Catalog, Policies } from '../core/catalog.ts'
import { requireManagement, type AdminDeps } from './admin-keys.ts'
import {
  checkName,
  checkVendors,
  historyQuery,
  modelsQuery,
  newModel,
  newPrices,
  vendorsQuery,
} from './catalog-input.ts'
import {
  deleteModel,
  modelJson,
  oneModel,
  pageOfModels,
  pageOfVendors,
  pricesJson,
  putModel,
  putPrices,
  vendorJson,
} from './catalog-rows.ts'
import { readBody, readQuery, refuseOthers } from './input.ts'

export interface CatalogDeps extends Pick<AdminDeps, 'database' | 'auth'> {
  /** What is offered at this moment. */
  catalog(): Catalog
  /** Policies of a model that has none of its own. */
  readonly policies: Policies
  /** Hears of every change once it is in the database; the answer waits until calls are served by it. */
  catalogChanged(): Promise<void>
}

const vendorsPath = '/admin/v1/vendors'
const modelsPath = '/admin/v1/models'
/** A name may hold slashes. One that itself ends in "/prices" has to be written with %2F. */
const modelPath = `${modelsPath}/:name{.+}` as const
const pricesEnd = '/prices'
/** The router takes a parameter with slashes only as the last one, so it holds the end of the path too. */
const pricesPath = `${modelsPath}/:nameWithEnd{.+${pricesEnd}}` as const

/** Vendors, models and their prices: for management keys alone. What the file declares is only shown. */
export function adminCatalog(deps: CatalogDeps): Hono {
  const app = new Hono()
  const allow = (request: Request) => requireManagement(deps, request, 'The catalog is')

  app.get(vendorsPath, async (c) => {
    await allow(c.req.raw)
    const { data, next_cursor } = await pageOfVendors(deps.database, readQuery(c.req.raw, vendorsQuery))
    const catalog = deps.catalog()
    return c.json({ object: 'list', data: data.map((row) => vendorJson(row, catalog)), next_cursor })
  })

  app.get(modelsPath, async (c) => {
    await allow(c.req.raw)
    const { data, next_cursor } = await pageOfModels(deps.database, readQuery(c.req.raw, modelsQuery))
    return c.json({ object: 'list', data: data.map((shown) => modelJson(shown, deps.policies)), next_cursor })
  })

  refuseOthers(app, vendorsPath, 'GET')
  refuseOthers(app, modelsPath, 'GET')
  // The paths of prices come first: those of models match them too.
  addPrices(app, deps, allow)
  addModels(app, deps, allow)
  return app
}

type Allow = (request: Request) => Promise<void>

function addPrices(app: Hono, deps: CatalogDeps, allow: Allow): void {
  const { database } = deps

  app.get(pricesPath, async (c) => {
    await allow(c.req.raw)
    const query = readQuery(c.req.raw, historyQuery)
    const { row } = await oneModel(database, withoutEnd(c.req.param('nameWithEnd')))
    return c.json(await pricesJson(database, row.name, query))
  })

  app.put(pricesPath, async (c) => {
    await allow(c.req.raw)
    const name = withoutEnd(c.req.param('nameWithEnd'))
    const query = readQuery(c.req.raw, historyQuery)
    const wanted = await readBody(c.req.raw, newPrices)
    await database.transaction((session) => putPrices(session, name, wanted))
    await deps.catalogChanged()
    return c.json(await pricesJson(database, name, query))
  })

  refuseOthers(app, pricesPath, 'GET and PUT')
}

const withoutEnd = (path: string): string => path.slice(0, -pricesEnd.length)

function addModels(app: Hono, deps: CatalogDeps, allow: Allow): void {
  const { database } = deps

  app.get(modelPath, async (c) => {
    await allow(c.req.raw)
    return c.json(modelJson(await oneModel(database, c.req.param('name')), deps.policies))
  })

  app.put(modelPath, async (c) => {
    await allow(c.req.raw)
    const name = c.req.param('name')
    checkName(name)
    const wanted = await readBody(c.req.raw, newModel)
    checkVendors(wanted, deps.catalog())
    const isNew = await database.transaction((session) => putModel(session, name, wanted))
    await deps.catalogChanged()
    return c.json(modelJson(await oneModel(database, name), deps.policies), isNew ? 201 : 200)
  })

  app.delete(modelPath, async (c) => {
    await allow(c.req.raw)
    const name = c.req.param('name')
    await database.transaction((session) => deleteModel(session, name))
    await deps.catalogChanged()
    return c.json({ object: 'model', name, deleted: true })
  })

  refuseOthers(app, modelPath, 'GET, PUT and DELETE')
}
