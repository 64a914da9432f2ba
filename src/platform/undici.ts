import { type Dispatcher, Pool } from 'undici'
import type { Receiver, Send, Sending } from '../ports.ts'
import { afterReads } from './after-reads.ts'

/** Connections kept to one vendor at most; more calls wait for one. */
const connections = 2_048
/** An idle connection is kept this long: at low traffic a handshake for every call would be dearer. */
const keepAliveMs = 60_000
/** Bytes of one answer that may come in one turn of the loop: more would be kept for a caller who does not take them. */
const mostUntold = 64 * 1024
/** Addresses are few, but for those that name a model. */
const mostAddresses = 1_000

interface Address {
  readonly origin: string
  readonly path: string
}

/** Send over our own undici pools, one for each origin and connect limit. `close` ends their connections. */
export function openUndici(): { send: Send; close(): Promise<void> } {
  const pools = new Map<string, Pool>()
  const addresses = new Map<string, Address>()

  function poolFor(origin: string, connectMs: number): Pool {
    const name = `${connectMs} ${origin}`
    const known = pools.get(name)
    if (known) return known
    const pool = new Pool(origin, {
      connections,
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: 10 * keepAliveMs,
      // Time limits of a call are its own: undici's would end a silent reasoning model after five minutes.
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      connect: { timeout: connectMs },
    })
    pools.set(name, pool)
    return pool
  }
  function addressOf(url: string): Address {
    const known = addresses.get(url)
    if (known) return known
    const { origin, pathname, search } = new URL(url)
    const address = { origin, path: pathname + search }
    if (addresses.size >= mostAddresses) addresses.clear()
    addresses.set(url, address)
    return address
  }

  const send: Send = ({ url, method, headers, body, connectMs }, receiver) => {
    const { origin, path } = addressOf(url)
    const handler = new Handler(receiver)
    poolFor(origin, connectMs).dispatch(
      { path, method, headers: { ...headers }, body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) },
      handler,
    )
    return handler
  }
  return {
    send,
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()))
    },
  }
}

/** undici calls a handler's methods by name, so this is the one place for an object with state. */
class Handler implements Dispatcher.DispatchHandler, Sending {
  readonly #receiver: Receiver
  #controller: Dispatcher.DispatchController | undefined
  #isPaused = false
  /** Bytes that have come and wait to be told. */
  #untold = 0
  /** The transport is done; its last words may still wait to be told. */
  #hasEnded = false
  /** Nobody wants to hear more. */
  #isGivenUp = false

  constructor(receiver: Receiver) {
    this.#receiver = receiver
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // Aborted while it waited for a connection: the vendor must not be called at all.
    if (this.#isGivenUp) controller.abort(new Error('aborted'))
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (this.#isGivenUp || status < 200) return
    // Views of the vendor's first bytes, which would stay in memory for as long as the answer lasts.
    controller.rawHeaders = null
    const plain: Record<string, string> = {}
    // undici has put the names into lower case.
    for (const name in headers) {
      const value = headers[name]
      if (value !== undefined) plain[name] = Array.isArray(value) ? value.join(', ') : value
    }
    this.#tell((receiver) => receiver.head({ status, headers: plain }))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#untold += chunk.length
    if (this.#isPaused || this.#untold > mostUntold) controller.pause()
    this.#tell((receiver) => {
      this.#untold -= chunk.length
      receiver.data(chunk)
      if (this.#untold === 0 && !this.#isPaused && !this.#isGivenUp) controller.resume()
    })
  }

  onResponseEnd(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#tell((receiver) => receiver.end())
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#tell((receiver) => receiver.fail(error))
  }

  pause(): void {
    this.#isPaused = true
    this.#controller?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#controller?.resume()
  }

  abort(): void {
    if (this.#isGivenUp) return
    this.#isGivenUp = true
    if (!this.#hasEnded) this.#controller?.abort(new Error('aborted'))
  }

  #tell(word: (receiver: Receiver) => void): void {
    if (this.#isGivenUp) return
    afterReads(() => {
      if (!this.#isGivenUp) word(this.#receiver)
    })
  }
}
