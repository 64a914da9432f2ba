import { type Context, Hono } from 'hono'
import type { Caller } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { mayUse } from '../auth/access.ts'
import type { Front, ModelPages, OfferedModel } from '../fronts/front.ts'
import { fronts } from '../fronts/index.ts'
import type { Gateway } from '../gateway/gateway.ts'

type Variables = { Variables: { front: Front | undefined } }

/** The models that a key may call, in the dialect of whoever asks. */
export function models(gateway: Gateway): Hono<Variables> {
  const app = new Hono<Variables>()
  for (const path of new Set(fronts.flatMap(({ models: pages }) => pages?.path ?? []))) {
    app.get(path, async (c) => {
      const { pages, offered } = await ask(gateway, c, path)
      return c.json(pages.list(offered))
    })
    app.get(`${path}/:id{.+}`, async (c) => {
      const { pages, offered } = await ask(gateway, c, path)
      const name = c.req.param('id')
      const model = offered.find((one) => one.name === name)
      if (model) return c.json(pages.one(model))
      throw new GatewayError(
        'model_not_found',
        `Model "${name}" is not offered to this key. GET ${path} lists those that are.`,
        { param: 'model' },
      )
    })
  }
  return app
}

interface Offer {
  readonly pages: ModelPages
  readonly offered: readonly OfferedModel[]
}

async function ask(gateway: Gateway, c: Context<Variables>, path: string): Promise<Offer> {
  const header = (name: string) => c.req.header(name)
  const { front, pages } = frontOf(path, header)
  c.set('front', front)
  const { keyInQuery } = front
  const inAddress = keyInQuery && c.req.query(keyInQuery) // allowed -- that of the address, not of a database
  const caller = await gateway.auth.caller(header, inAddress)
  return { pages, offered: offeredTo(gateway, caller) }
}

/** The dialect that is asked: one that says so of itself, else the one that does not have to. */
function frontOf(
  path: string,
  header: (name: string) => string | undefined,
): { readonly front: Front; readonly pages: ModelPages } {
  const there = fronts.flatMap((front) => (front.models?.path === path ? [{ front, pages: front.models }] : []))
  const found =
    there.find(({ pages }) => pages.isAsked?.(header)) ?? there.find(({ pages }) => pages.isAsked === undefined)
  if (!found) throw new GatewayError('not_found', `There is nothing at GET ${path}.`)
  return found
}

function offeredTo({ platform }: Gateway, caller: Caller): readonly OfferedModel[] {
  const { models: all, vendors } = platform.catalog()
  const isLive = (vendor: string) => (vendors.get(vendor)?.apiKeys.length ?? 0) > 0
  return [...all.values()]
    .filter((model) => model.prices && model.targets.some(({ vendor }) => isLive(vendor)) && mayUse(caller, model.name))
    .map(({ name, targets, createdAtMs, maxOutputTokens }) => ({
      name,
      vendor: targets[0]?.vendor ?? 'tollgate',
      createdAtMs,
      maxOutputTokens,
    }))
}
