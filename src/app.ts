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
import type { Client, Log } from './ports.ts'

/** What a platform gives for one request on a model's path. */
export interface Connection {
  readonly client: Client
  /** What the router returns: the answer, or a sign that it goes its own way. */
  readonly response: Promise<Response>
  /** As whose address the caller's counts; undefined or absent: the platform cannot tell. */
  address?(): string | undefined
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
  mount(app, { gateway, connect })
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
  app.onError((caught, c) => failure(c, told(log, caught, { id: c.get('id'), path: c.req.path })))
  return app
}

/** The error that a caller is told of; what he cannot know of it goes to the log. */
export function told(log: Log, caught: unknown, call: { readonly id: string; readonly path: string }): GatewayError {
  const error = GatewayError.from(caught)
  if (error.code === 'internal') log('internal_error', { ...call, error: stackOf(caught) })
  // A call that was not let in has no record that would tell the operator.
  if (error.code === 'billing_unavailable' && error.cause !== undefined)
    log('billing_unavailable', { ...call, error: stackOf(error.cause) })
  return error
}

type Work = (asking: Asking) => Promise<void>

/** What is done at one path. */
export interface Served {
  readonly path: string
  readonly front: Front
  readonly work: Work
}

/** The paths of all dialects: their calls, and where they have that, the counting of a prompt. */
export function servedPaths(gateway: Gateway): readonly Served[] {
  return fronts.flatMap((front) => {
    const { paths, counting } = front
    const calls = paths.map((path) => ({ path, front, work: (asking: Asking) => exchange(gateway, asking) }))
    if (!counting) return calls
    const counts = counting.paths.map((path) => ({
      path,
      front,
      work: (asking: Asking) => countTokens(gateway, asking, counting),
    }))
    return [...calls, ...counts]
  })
}

function mount(app: Hono<Variables>, { gateway, connect }: Pick<AppOptions, 'gateway' | 'connect'>): void {
  for (const { path, front, work } of servedPaths(gateway)) {
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
  const { client, response, address } = serving.connection
  const { later, log } = gateway.platform
  let isAnswered = false
  const answered = response.then(() => (isAnswered = true))
  const work = serving.work({ ...asked, client, ...(address && { address }) })
  later(work.catch((caught) => isAnswered && tooLate(log, caught, asked)))
  await Promise.race([work, answered])
  return response
}

/** The caller has his answer, or what there is of it: an error now is a bug, and only the log can be told. */
export function tooLate(log: Log, caught: unknown, { id }: { readonly id: string }): void {
  if (!(caught instanceof GatewayError)) log('internal_error', { id, error: stackOf(caught) })
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
