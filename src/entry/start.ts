import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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
import type { Settings } from '../ports.ts'
import { assemble, type Opened, type Parts } from './assemble.ts'
import { faultOf, refuseBroken, refuseRequest, unreadable } from './refusals.ts'

/** Above the idle limit of common load balancers, so that they close first. */
const keepAliveMs = 75_000
const headersLimit = 32 * 1024
const headersMs = 30_000
/** For a request with its body; above the limit of a call's body, whose refusal says more. */
const requestMs = 150_000

/** For what was ended to be charged and stored. */
const lastMs = 5_000

/** For answers that have ended to reach callers who read slowly. */
const flushMs = 1_000

/** Puts a gateway together for this process. */
export function openGateway(parts: Omit<Parts, 'replica'> & Partial<Pick<Parts, 'replica'>>): Promise<Opened> {
  const { lagMs } = watchEventLoop(() => systemClock.elapsed())
  return assemble({ replica: `${hostname()}:${process.pid}`, lagMs, ...parts })
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
}

/** Serves a gateway over HTTP. Rejects where the port is taken. */
export async function listen({ gateway, host, port, ...routes }: ListenOptions): Promise<Listening> {
  const { crypto, clock, settings } = gateway.platform
  const app = buildApp({ ...routes, gateway, connect: (c) => connect(c, settings) })
  const newId = () => crypto.uuidv7(clock.now())
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
      else void listener(incoming, outgoing)
    },
  )
  refuseBroken(server, newId)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(unheard(error, host, port)))
    server.listen(port, host, resolve)
  })
  const { port: actual } = server.address() as AddressInfo
  return { server, port: actual, url: `http://${shown(host)}:${actual}` }
}

/** Why nobody can be heard, in words for an operator. */
function unheard(error: NodeJS.ErrnoException, host: string, port: number): Error {
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
function connect(c: Context, { stallMs }: Settings): Connection {
  const { incoming, outgoing } = c.env as HttpBindings
  const { client, answered } = nodeClient({ incoming, outgoing, stallMs })
  return { client, response: answered.then(() => RESPONSE_ALREADY_SENT) }
}

/**
 * Stops taking calls, lets those under way finish for `graceMs`, ends the rest in order, and resolves when every
 * record is in the books or has been left to the journal. Until then it goes on listening, because a balancer that has
 * not noticed yet still sends calls, and a 503 tells their SDKs to try again where a refused connection may not.
 */
export async function drain({ gateway, idle }: Opened, server: Server, graceMs: number): Promise<void> {
  gateway.isStopping = true
  const finished = idle()
  await Promise.race([finished, wait(graceMs)])
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

/** Unlike the clock's timers it keeps the process alive. */
function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
