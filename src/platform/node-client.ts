import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../core/errors.ts'
import type { Client } from '../ports.ts'

/** A body must be here by then; slow uploads of the largest body fit. */
const bodyMs = 120_000
/** Up to here one string is cheaper for Node to send than a list of buffers is. */
const shortBytes = 16 * 1024

export interface NodeClientOptions {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  /** A caller who takes nothing of what is left of his answer for this long is cut off. */
  readonly stallMs: number
}

/**
 * The caller's side of a call on Node: its request and response, with no stream in between. `onAnswered` is run when
 * the status line went out or the caller left: until then an error can still be answered.
 */
export function nodeClient({ incoming, outgoing, stallMs }: NodeClientOptions, onAnswered = () => {}): Client {
  const gone: (() => void)[] = []
  let isChunked = false
  let names: ReadonlyMap<string, string> | undefined
  outgoing.once('close', () => {
    onAnswered()
    if (outgoing.writableFinished) return
    client.gone = true
    for (const run of gone) run()
  })
  // Without a listener a reset connection would end the process.
  outgoing.on('error', () => outgoing.destroy())
  incoming.on('error', () => outgoing.destroy())
  const client = {
    header: (name) => (names ??= headersOf(incoming.rawHeaders)).get(name),
    body: (limit) => readBody(incoming, limit),
    onGone: (run) => void gone.push(run),
    gone: false,
    open(status, headers) {
      isChunked = openHead(outgoing, status, headers)
      onAnswered()
    },
    write: (bytes) => (bytes.length === 0 ? true : send(outgoing, bytes, isChunked)),
    onDrain: (run) => outgoing.on('drain', run),
    end(bytes) {
      if (isChunked) endChunks(outgoing, bytes)
      else if (bytes && bytes.length <= shortBytes) outgoing.end(textOf(bytes), 'latin1')
      else outgoing.end(bytes)
      // Nobody looks after the call any more; Node sets another limit once all is sent.
      if (outgoing.writableLength > 0) outgoing.setTimeout(stallMs, () => outgoing.destroy())
    },
    destroy: () => void outgoing.destroy(),
  } satisfies Client as Client & { gone: boolean }
  return client
}

/** Lower-case names. Of some headers given twice Node would drop all but the first, and a proxy may have looked at another one. */
function headersOf(raw: readonly string[]): ReadonlyMap<string, string> {
  const named = new Map<string, string>()
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]?.toLowerCase() ?? ''
    const before = named.get(name)
    const value = raw[at + 1] ?? ''
    named.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return named
}

/** Writes the head; says whether the answer is sent in chunks that we frame ourselves. */
function openHead(outgoing: ServerResponse, status: number, headers: Readonly<Record<string, string>>): boolean {
  // To a caller of HTTP/1.0 the end of the connection is the end of the answer.
  const isFramed = headers['content-length'] === undefined && outgoing.useChunkedEncodingByDefault
  if (!isFramed) {
    outgoing.writeHead(status, headers)
    return false
  }
  outgoing.writeHead(status, { ...headers, 'transfer-encoding': 'chunked' })
  // Node writes the frame of a chunk and the chunk in four pieces, which costs as much as all else that an event needs.
  outgoing.chunkedEncoding = false
  return true
}

function send(outgoing: ServerResponse, bytes: Uint8Array, isChunked: boolean): boolean {
  if (!isChunked) return outgoing.write(bytes)
  const size = bytes.length.toString(16)
  if (bytes.length <= shortBytes) return writeNow(outgoing, `${size}\r\n${textOf(bytes)}\r\n`)
  outgoing.write(`${size}\r\n`, 'latin1')
  outgoing.write(bytes)
  return outgoing.write('\r\n', 'latin1')
}

/**
 * Left alone, Node keeps what is written until the next tick, to send it with what may follow; ours is whole already. A
 * corked socket it takes for one whose owner sends in his own time.
 */
function writeNow(outgoing: ServerResponse, text: string): boolean {
  const { socket } = outgoing
  socket?.cork()
  const keepsUp = outgoing.write(text, 'latin1')
  socket?.uncork()
  return keepsUp
}

const lastChunk = '0\r\n\r\n'

function endChunks(outgoing: ServerResponse, bytes: Uint8Array | undefined): void {
  if (!bytes || bytes.length === 0) return void outgoing.end(lastChunk, 'latin1')
  if (bytes.length <= shortBytes)
    return void outgoing.end(`${bytes.length.toString(16)}\r\n${textOf(bytes)}\r\n${lastChunk}`, 'latin1')
  send(outgoing, bytes, true)
  outgoing.end(lastChunk, 'latin1')
}

/** The same bytes as a string, a character each. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
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
