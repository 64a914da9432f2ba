import { type Context, Hono } from 'hono'
import { GatewayError } from './core/errors.ts'
import type { Front } from './fronts/front.ts'
import { frontFor, fronts } from './fronts/index.ts'
import type { Asking } from './gateway/asking.ts'
import { countTokens } from './gateway/count-tokens.ts'
import { exchange } from './gateway/exchange.ts'
import type { Gateway } from './gateway/gateway.ts'
import { ops, type OpsOptions } from './http/ops.ts'
import { models } from './http/models.ts'
import { self } from './http/self.ts'
import type { Client } from './ports.ts'

/** What a platform gives for one request on a model's path. */
export interface Connection {
  readonly client: Client
  /** What the router returns: the answer, or a sign that it goes its own way. */
  readonly response: Promise<Response>
}

export interface AppOptions extends OpsOptions {
  readonly gateway: Gateway
  connect(c: Context): Connection
  /** Routes that need a database. */
  readonly admin?: readonly Hono[]
}

type Variables = { Variables: { id: string; front: Front | undefined } }

/** All routes, the request id, and the one place where errors are answered. */
export function buildApp({ gateway, connect, admin = [], ...health }: AppOptions): Hono<Variables> {
  const app = new Hono<Variables>()
  const { crypto, clock, log } = gateway.platform

  app.use(async (c, next) => {
    const id = crypto.uuidv7(clock.now())
    c.set('id', id)
    await next()
    c.header('x-request-id', id)
  })
  app.route('/', ops(health))
  for (const front of fronts) mount(app, { gateway, front, connect })
  app.route('/', models(gateway))
  app.route('/', self(gateway))
  for (const routes of admin) app.route('/', routes)

  app.notFound((c) =>
    failure(
      c,
      new GatewayError(
        'not_found',
        `There is nothing at ${c.req.method} ${c.req.path}. The paths are listed in the documentation.`,
      ),
    ),
  )
  app.onError((caught, c) => {
    const error = GatewayError.from(caught)
    const id = c.get('id')
    if (error.code === 'internal') log('internal_error', { id, path: c.req.path, error: stackOf(caught) })
    // The caller cannot know why, and a call that was not let in has no record that would tell the operator.
    if (error.code === 'billing_unavailable' && error.cause !== undefined)
      log('billing_unavailable', { id, path: c.req.path, error: stackOf(error.cause) })
    return failure(c, error)
  })
  return app
}

type Work = (asking: Asking) => Promise<void>

interface Mounting extends Pick<AppOptions, 'gateway' | 'connect'> {
  readonly front: Front
}

/** The paths of one dialect: its calls, and where it has that, the counting of a prompt. */
function mount(app: Hono<Variables>, { gateway, front, connect }: Mounting): void {
  const { paths, counting } = front
  const served: { readonly paths: readonly string[]; readonly work: Work }[] = [
    { paths, work: (asking) => exchange(gateway, asking) },
  ]
  if (counting) served.push({ paths: counting.paths, work: (asking) => countTokens(gateway, asking, counting) })
  for (const { path, work } of served.flatMap(({ paths: all, work }) => all.map((path) => ({ path, work })))) {
    app.post(path, (c) => {
      // A path of one dialect may lie among those of another, so that it alone does not tell.
      c.set('front', front)
      const query = (name: string) => c.req.query(name) // allowed -- that of the address, not of a database
      return serve(gateway, { front, id: c.get('id'), path: c.req.path, query }, { work, connection: connect(c) })
    })
    app.all(path, (c) => {
      c.set('front', front)
      throw new GatewayError('method_not_allowed', 'This path takes POST.')
    })
  }
}

interface Serving {
  readonly work: Work
  readonly connection: Connection
}

/** Errors until the first byte are the router's to answer; later ones the stream has told already, but for bugs. */
async function serve(gateway: Gateway, asked: Omit<Asking, 'client'>, serving: Serving): Promise<Response> {
  const { client, response } = serving.connection
  const { later, log } = gateway.platform
  let isAnswered = false
  const answered = response.then(() => (isAnswered = true))
  const work = serving.work({ ...asked, client })
  later(
    work.catch((caught) => {
      if (isAnswered && !(caught instanceof GatewayError))
        log('internal_error', { id: asked.id, error: stackOf(caught) })
    }),
  )
  await Promise.race([work, answered])
  return response
}

function failure(c: Context<Variables>, error: GatewayError): Response {
  const front = c.get('front') ?? frontFor(c.req.path)
  const { status, headers, body } = front.failure(error, c.get('id'))
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'x-request-id': c.get('id'), ...headers },
  })
}

/** A stack names places in the code; a message may hold what a caller sent, so of foreign errors only the kind is kept. */
function stackOf(caught: unknown): string {
  if (!(caught instanceof Error)) return typeof caught
  const places = (caught.stack ?? '').split('\n').filter((line) => line.trimStart().startsWith('at '))
  return [caught.name, ...places.slice(0, 8)].join(' ')
}
