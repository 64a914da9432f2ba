import { createServer, type Server } from 'node:http'
import { type AddressInfo, Server as NetServer } from 'node:net'
import { hostname } from 'node:os'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context, Hono } from 'hono'
import { buildApp, type Connection } from '../app.ts'
import { GatewayError } from '../core/errors.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Checks, Metrics, States } from '../http/ops.ts'
import { systemClock } from '../platform/clock.ts'
import { watchEventLoop } from '../platform/event-loop.ts'
import { nodeClient } from '../platform/node-client.ts'
import { openTurns } from '../platform/turns.ts'
import type { Settings } from '../ports.ts'
import { assemble, type Opened, type Parts } from './assemble.ts'
import { addressOf, openDirect } from './direct.ts'
import { faultOf, refuseBroken, refuseRequest, unreadable } from './refusals.ts'

/** Above the idle limit of common load balancers, so that they close first. */
const keepAliveMs = 75_000
const headersLimit = 32 * 1024
const headersMs = 30_000
/** For a request with its body; above the limit of a call's body, whose refusal says more. */
const requestMs = 150_000

/** For what was ended to be charged and stored. */
const lastMs = 5_000

/** How long connections without a call stay open while a process leaves, and how often those are closed afterwards. */
const lastCallMs = 1_000
const idleLookMs = 100

/** For answers that have ended to reach callers who read slowly. */
const flushMs = 1_000

/** Puts a gateway together for this process. */
export function openGateway(parts: Omit<Parts, 'replica'> & Partial<Pick<Parts, 'replica'>>): Promise<Opened> {
  const elapsed = () => systemClock.elapsed()
  const { lagMs } = watchEventLoop(elapsed)
  const { next, lateMs } = openTurns(elapsed)
  return assemble({
    replica: `${hostname()}:${process.pid}`,
    // Where calls wait for their turn the loop itself is on time, however many they are.
    lagMs: () => Math.max(lagMs(), lateMs()),
    turn: next,
    ...parts,
  })
}

export interface Listening {
  readonly server: Server
  /** As people would type it. */
  readonly url: string
  readonly port: number
}

export interface ListenOptions {
  readonly gateway: Gateway
  readonly checks: Checks
  readonly states?: States
  readonly metrics?: Metrics
  readonly admin: readonly Hono[]
  readonly host: string
  readonly port: number
  /** Whether other processes listen on the same port; the system then shares new connections out among them. */
  readonly isShared?: boolean
}

/** Serves a gateway over HTTP. Rejects where the port is taken. */
export async function listen({ gateway, host, port, isShared = false, ...routes }: ListenOptions): Promise<Listening> {
  const { crypto, clock, settings } = gateway.platform
  const app = buildApp({ ...routes, gateway, connect: (c) => connect(c, settings) })
  const newId = () => crypto.uuidv7(clock.now())
  const isServed = openDirect(gateway)
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: () => unreadable(newId()),
  })
  const server = createServer(
    {
      keepAliveTimeout: keepAliveMs,
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      maxHeaderSize: headersLimit,
      // Asked for by us, so that its refusal looks like any other.
      requireHostHeader: false,
      noDelay: true,
    },
    (incoming, outgoing) => {
      const fault = faultOf(incoming)
      if (fault) refuseRequest(outgoing, fault, newId())
      else if (!isServed(incoming, outgoing)) void listener(incoming, outgoing)
    },
  )
  refuseBroken(server, newId)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(unheard(error, host, port)))
    server.listen({ port, host, reusePort: isShared }, resolve)
  })
  const { port: actual } = server.address() as AddressInfo
  return { server, port: actual, url: `http://${shown(host)}:${actual}` }
}

/** Why nobody can be heard, in words for an operator. */
export function unheard(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: `Port ${port} is taken on ${host}. Stop what listens there, or choose another with PORT.`,
    EACCES: `Port ${port} needs rights that this process has not. Choose one from 1024 on with PORT.`,
    EADDRNOTAVAIL: `This machine has no address ${host}. Choose another with HOST.`,
    ENOTFOUND: `Nothing is known of the host ${host}. Choose another with HOST.`,
  }
  const text = why[error.code ?? '']
  return text === undefined ? error : new Error(text, { cause: error })
}

function shown(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

/** The router's context holds Node's own request and response: a call is served on them directly. */
function connect(c: Context, settings: Settings): Connection {
  const { incoming, outgoing } = c.env as HttpBindings
  const { promise: response, resolve } = Promise.withResolvers<Response>()
  const { stallMs } = settings
  const client = nodeClient({ incoming, outgoing, stallMs }, () => resolve(RESPONSE_ALREADY_SENT))
  return { client, response, address: () => addressOf(incoming, client, settings) }
}

export interface DrainOptions {
  readonly server: Server
  /** How long calls that are under way may go on. */
  readonly graceMs: number
  /** Whether other processes go on serving the same port. */
  readonly isAlone?: boolean
}

/**
 * Stops taking calls, lets those under way finish for `graceMs`, ends the rest in order, and resolves when every
 * record is in the books or has been left to the journal. Until then it goes on listening, because a balancer that has
 * not noticed yet still sends calls, and a 503 tells their SDKs to try again where a refused connection may not. Where
 * others serve the port it stops listening at once, so that new connections go to them.
 */
export async function drain({ gateway, idle }: Opened, { server, graceMs, isAlone }: DrainOptions): Promise<void> {
  if (isAlone) await leave(server, graceMs)
  gateway.isStopping = true
  const finished = idle()
  await Promise.race([finished, wait(isAlone ? 0 : graceMs)])
  const error = new GatewayError('shutting_down', 'The gateway is stopping. Send the call again.', {
    retryAfterMs: 1_000,
  })
  for (const call of gateway.running) call.interrupt(error)
  await Promise.race([finished, wait(lastMs)])
  const closed = new Promise((resolve) => server.close(resolve))
  await Promise.race([closed, wait(flushMs)])
  server.closeAllConnections()
  await gateway.ledger.batcher.drained(lastMs)
}

/**
 * Lets nobody in any more, and every connection go with its next answer: the call after that finds another process.
 * Resolves when all are gone, or after `graceMs`.
 */
async function leave(server: Server, graceMs: number): Promise<void> {
  server.prependListener('request', (_, outgoing) => {
    outgoing.shouldKeepAlive = false
  })
  // Not the server's own way to close, which at once cuts off callers who are about to use a connection again.
  const gone = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()))
  const firstMs = Math.min(lastCallMs, graceMs)
  await Promise.race([gone, wait(firstMs)])
  const looking = setInterval(() => server.closeIdleConnections(), idleLookMs)
  await Promise.race([gone, wait(graceMs - firstMs)])
  clearInterval(looking)
}

/** Unlike the clock's timers it keeps the process alive. */
function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
