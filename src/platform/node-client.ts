import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../core/errors.ts'
import type { Client } from '../ports.ts'

/** A body must be here by then; slow uploads of the largest body fit. */
const bodyMs = 120_000

export interface NodeClientOptions {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  /** A caller who takes nothing of what is left of his answer for this long is cut off. */
  readonly stallMs: number
}

/**
 * The caller's side of a call on Node: its request and response, with no stream in between. `answered` resolves when
 * the status line went out or the caller left: until then an error can still be answered.
 */
export function nodeClient({ incoming, outgoing, stallMs }: NodeClientOptions): {
  readonly client: Client
  readonly answered: Promise<void>
} {
  const gone = new Set<() => void>()
  const { promise: answered, resolve } = Promise.withResolvers<void>()
  let isGone = false
  outgoing.once('close', () => {
    resolve()
    if (outgoing.writableFinished) return
    isGone = true
    for (const run of gone) run()
  })
  // Without a listener a reset connection would end the process.
  outgoing.on('error', () => outgoing.destroy())
  incoming.on('error', () => outgoing.destroy())
  const client: Client = {
    // Of some headers given twice Node would drop all but the first, and a proxy may have looked at another one.
    header: (name) => incoming.headersDistinct[name]?.join(', '),
    body: (limit) => readBody(incoming, limit),
    onGone: (run) => gone.add(run),
    get gone() {
      return isGone
    },
    open(status, headers) {
      outgoing.socket?.setNoDelay(true)
      outgoing.writeHead(status, headers)
      resolve()
    },
    write: (bytes) => outgoing.write(bytes),
    onDrain: (run) => outgoing.on('drain', run),
    end(bytes) {
      // Nobody looks after the call any more; Node sets another limit once all is sent.
      outgoing.setTimeout(stallMs, () => outgoing.destroy())
      outgoing.end(bytes)
    },
    destroy: () => void outgoing.destroy(),
  }
  return { client, answered }
}

function readBody(incoming: IncomingMessage, limit: number): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  const chunks: Buffer[] = []
  let size = 0
  let isWhole = false
  const timer = setTimeout(
    () => fail(new GatewayError('request_timeout', 'The request body did not come in time.')),
    bodyMs,
  )
  const fail = (error: GatewayError) => {
    clearTimeout(timer)
    incoming.removeListener('data', take)
    // What is still to come is read and dropped, so that the answer can be sent before the connection closes.
    incoming.resume()
    reject(error)
  }
  const take = (chunk: Buffer) => {
    size += chunk.length
    if (size > limit) return fail(tooLarge(limit))
    chunks.push(chunk)
  }
  if (Number(incoming.headers['content-length'] ?? 0) > limit) fail(tooLarge(limit))
  else incoming.on('data', take)
  incoming.once('end', () => {
    isWhole = true
    clearTimeout(timer)
    resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size))
  })
  // A connection that closed before anybody listened would not say so again.
  if (incoming.destroyed) fail(closedEarly())
  else incoming.once('close', () => isWhole || fail(closedEarly()))
  return promise
}

function closedEarly(): GatewayError {
  return new GatewayError('invalid_value', 'The connection closed before the whole body had come.')
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError('request_too_large', `The request body is larger than ${limit} bytes.`)
}
