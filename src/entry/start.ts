import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { getRequestListener } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context, Hono } from 'hono'
import { buildApp, type Connection } from '../app.ts'
import { createAuthenticator } from '../auth/authenticate.ts'
import type { Config } from '../config.ts'
import type { Catalog } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Checks } from '../http/ops.ts'
import { openBatcher } from '../ledger/batcher.ts'
import type { Ledger } from '../ledger/hold.ts'
import { openSpender } from '../ledger/spender.ts'
import { systemClock } from '../platform/clock.ts'
import { nodeClient } from '../platform/node-client.ts'
import type { Books, Crypto, Log, Platform, Send, Settings, Shared, Tokenizer } from '../ports.ts'
import { sandboxSend } from '../vendors/sandbox.ts'

/** Largest unstreamed answer of a vendor: images in base64 and long answers fit. */
const answerLimit = 64 * 1024 * 1024
/** A caller who reads nothing for so long is taken as gone. */
const stallMs = 60_000
/** Above the idle limit of common load balancers, so that they close first. */
const keepAliveMs = 75_000
const headersLimit = 32 * 1024
const headersMs = 30_000

/** For what was ended to be charged and stored. */
const lastMs = 5_000

/** The name under which this process borrows money: one process at a time, so one name. */
const spenderName = 'local'

export interface Parts {
  readonly config: Config
  readonly books: Books
  readonly shared: Shared
  readonly send: Send
  readonly tokenizer: Tokenizer
  readonly crypto: Crypto
  readonly log: Log
  catalog(): Catalog
}

/** A gateway and the work that outlives its answers. */
export interface Opened {
  readonly gateway: Gateway
  /** Resolves when nothing that was put off is running. */
  idle(): Promise<void>
}

/** Puts a gateway together from its parts; a new epoch of lending begins. */
export async function openGateway(parts: Parts): Promise<Opened> {
  const { books, shared, crypto, log, tokenizer } = parts
  const later = new Set<Promise<unknown>>()
  const sandbox = sandboxSend({ clock: systemClock, countTokens: (text) => tokenizer.count(text) })
  const platform: Platform = {
    clock: systemClock,
    log,
    shared,
    books,
    crypto,
    tokenizer,
    send: (request, receiver) => (request.url.startsWith('sandbox:') ? sandbox : parts.send)(request, receiver),
    settings: settingsOf(parts.config),
    catalog: parts.catalog,
    later(work) {
      later.add(work)
      void work.finally(() => later.delete(work))
    },
  }
  const ledger: Ledger = {
    platform,
    spender: await openSpender(platform, spenderName),
    batcher: openBatcher(platform),
    live: new Set(),
  }
  const auth = createAuthenticator({ books, crypto, clock: systemClock })
  const gateway: Gateway = { platform, ledger, auth, running: new Set(), isStopping: false }
  return {
    gateway,
    async idle() {
      await Promise.allSettled(later)
    },
  }
}

function settingsOf({ server, holds }: Config): Settings {
  return {
    replica: `${hostname()}:${process.pid}`,
    bodyLimit: server.bodyLimitBytes,
    answerLimit,
    firstOutputTokens: holds.firstOutputTokens,
    ...(holds.cap !== undefined && { holdCap: holds.cap }),
    termMs: holds.termMs,
    checkpointMs: holds.checkpointMs,
    stallMs,
  }
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
  readonly admin: readonly Hono[]
  readonly host: string
  readonly port: number
}

/** Serves a gateway over HTTP. Rejects where the port is taken. */
export async function listen({ gateway, checks, admin, host, port }: ListenOptions): Promise<Listening> {
  const app = buildApp({ gateway, checks, admin, connect })
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false })
  const server = createServer(
    {
      keepAliveTimeout: keepAliveMs,
      headersTimeout: headersMs,
      requestTimeout: 0,
      maxHeaderSize: headersLimit,
      noDelay: true,
    },
    (incoming, outgoing) => void listener(incoming, outgoing),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const { port: actual } = server.address() as AddressInfo
  const shown = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  return { server, port: actual, url: `http://${shown}:${actual}` }
}

/** The router's context holds Node's own request and response: a call is served on them directly. */
function connect(c: Context): Connection {
  const { incoming, outgoing } = c.env as Parameters<typeof nodeClient> extends [infer I, infer O]
    ? { incoming: I; outgoing: O }
    : never
  const { client, answered } = nodeClient(incoming, outgoing)
  return { client, response: answered.then(() => RESPONSE_ALREADY_SENT) }
}

/**
 * Stops taking calls, lets those under way finish for `graceMs`, ends the rest in order, and resolves when every
 * record is in the books or has been left to the journal.
 */
export async function drain({ gateway, idle }: Opened, server: Server, graceMs: number): Promise<void> {
  gateway.isStopping = true
  server.close()
  server.closeIdleConnections()
  const finished = idle()
  await Promise.race([finished, wait(graceMs)])
  const error = new GatewayError('shutting_down', 'The gateway is stopping. Send the call again.', {
    retryAfterMs: 1_000,
  })
  for (const relay of gateway.running) relay.interrupt(error)
  await Promise.race([finished, wait(lastMs)])
  server.closeAllConnections()
  await gateway.ledger.batcher.drained(lastMs)
}

/** Unlike the clock's timers it keeps the process alive. */
function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
