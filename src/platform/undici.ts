import { Agent, type Dispatcher } from 'undici'
import type { Receiver, Send, Sending } from '../ports.ts'

/** Connections kept to one vendor at most; more calls wait for one. */
const connections = 2_048
/** An idle connection is kept this long: at low traffic a handshake for every call would be dearer. */
const keepAliveMs = 60_000

/** Send over our own undici agents, one per connect limit. `close` ends their connections. */
export function openUndici(): { send: Send; close(): Promise<void> } {
  const agents = new Map<number, Agent>()

  function agentFor(connectMs: number): Agent {
    const known = agents.get(connectMs)
    if (known) return known
    const agent = new Agent({
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
    agents.set(connectMs, agent)
    return agent
  }

  const send: Send = (request, receiver) => {
    const { origin, pathname, search } = new URL(request.url)
    const handler = new Handler(receiver)
    const { method, headers, body } = request
    agentFor(request.connectMs).dispatch(
      {
        origin,
        path: pathname + search,
        method,
        headers: { ...headers },
        body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      },
      handler,
    )
    return handler
  }
  return {
    send,
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()))
    },
  }
}

/** undici calls a handler's methods by name, so this is the one place for an object with state. */
class Handler implements Dispatcher.DispatchHandler, Sending {
  readonly #receiver: Receiver
  #controller: Dispatcher.DispatchController | undefined
  #isPaused = false
  #isOver = false

  constructor(receiver: Receiver) {
    this.#receiver = receiver
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // Aborted while it waited for a connection: the vendor must not be called at all.
    if (this.#isOver) controller.abort(new Error('aborted'))
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (this.#isOver || status < 200) return
    const plain: Record<string, string> = {}
    for (const [name, value] of Object.entries(headers))
      if (value !== undefined) plain[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value
    this.#receiver.head({ status, headers: plain })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return
    this.#receiver.data(chunk)
    if (this.#isPaused) controller.pause()
  }

  onResponseEnd(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#receiver.end()
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#receiver.fail(error)
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
    if (this.#isOver) return
    this.#isOver = true
    this.#controller?.abort(new Error('aborted'))
  }
}
