import { type Context, Hono } from 'hono'
import { GatewayError } from './core/errors.ts'
import { chat } from './fronts/chat.ts'
import type { Front } from './fronts/front.ts'
import { entrances } from './fronts/index.ts'
import { exchange } from './gateway/exchange.ts'
import type { Gateway } from './gateway/gateway.ts'
import { type Checks, type Metrics, ops } from './http/ops.ts'
import { self } from './http/self.ts'
import type { Client } from './ports.ts'

/** What a platform gives for one request on a model's path. */
export interface Connection {
  readonly client: Client
  /** What the router returns: the answer, or a sign that it goes its own way. */
  readonly response: Promise<Response>
}

export interface AppOptions {
  readonly gateway: Gateway
  connect(c: Context): Connection
  readonly checks: Checks
  /** Absent: there is no `/metrics`. */
  readonly metrics?: Metrics
  /** Routes that need a database. */
  readonly admin?: readonly Hono[]
}

type Variables = { Variables: { id: string } }

/** All routes, the request id, and the one place where errors are answered. */
export function buildApp({ gateway, connect, checks, metrics, admin = [] }: AppOptions): Hono<Variables> {
  const app = new Hono<Variables>()
  const { crypto, clock, log } = gateway.platform

  app.use(async (c, next) => {
    const id = crypto.uuidv7(clock.now())
    c.set('id', id)
    await next()
    c.header('x-request-id', id)
  })
  app.route('/', ops(checks, metrics))
  for (const { path, front } of entrances) {
    app.post(path, (c) => serve(gateway, { front, id: c.get('id'), connection: connect(c) }))
    app.all(path, () => {
      throw new GatewayError('method_not_allowed', 'This path takes POST.')
    })
  }
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

interface Serving {
  readonly front: Front
  readonly id: string
  readonly connection: Connection
}

/** Errors until the first byte are the router's to answer; later ones the stream has told already, but for bugs. */
async function serve(gateway: Gateway, { front, id, connection }: Serving): Promise<Response> {
  const { client, response } = connection
  const { later, log } = gateway.platform
  let isAnswered = false
  const answered = response.then(() => (isAnswered = true))
  const work = exchange(gateway, { front, client, id })
  later(
    work.catch((caught) => {
      if (isAnswered && !(caught instanceof GatewayError)) log('internal_error', { id, error: stackOf(caught) })
    }),
  )
  await Promise.race([work, answered])
  return response
}

function failure(c: Context, error: GatewayError): Response {
  const front = entrances.find(({ path }) => path === c.req.path)?.front ?? chat
  const { status, headers, body } = front.failure(error)
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
