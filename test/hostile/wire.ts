import { connect, type Socket } from 'node:net'

/** One answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number
  /** Lower-case names; of a name given twice both values, joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** How many status lines came: more than one where a request was taken for two. */
  readonly answers: number
}

export interface RawOptions {
  /** Bytes that follow after the first ones were sent; the answer may come before the last. */
  readonly more?: Iterable<string | Uint8Array>
  /** Closes our side once all was sent. */
  readonly half?: boolean
  /** Is content with the first whole answer: for a connection that stays open. */
  readonly once?: boolean
  /** An answer that does not end by then is taken as it is. */
  readonly limitMs?: number
}

const answerMs = 15_000

/** Sends bytes that no HTTP client would, and reads what comes back until the connection closes. */
export async function sendRaw(url: string, first: string | Uint8Array, options: RawOptions = {}): Promise<RawAnswer> {
  const socket = await connectTo(url)
  const chunks: Buffer[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, options.limitMs ?? answerMs)
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    if (options.once && isWhole(Buffer.concat(chunks))) resolve()
  })
  socket.on('close', () => resolve())
  socket.write(first)
  for (const part of options.more ?? []) {
    if (socket.destroyed) break
    if (!socket.write(part)) await drained(socket)
  }
  if (options.half) socket.end()
  await promise
  clearTimeout(timer)
  socket.destroy()
  return readAnswer(Buffer.concat(chunks))
}

/** A connection on which errors are of no interest: whatever was sent before them is. */
export async function connectTo(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  return socket
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done)
      resolve()
    }
    socket.on('drain', done).on('close', done)
  })
}

function readAnswer(bytes: Buffer): RawAnswer {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return { status: 0, headers: {}, text: bytes.toString(), answers: 0 }
  const [statusLine = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = Object.hasOwn(headers, name) ? `${headers[name]}, ${value}` : value
  }
  const rest = bytes.subarray(end + 4)
  const body = headers['transfer-encoding'] === 'chunked' ? unchunked(rest) : rest
  const answers = bytes.toString('latin1').split(/HTTP\/1\.1 \d{3} /).length - 1
  return { status: Number(statusLine.split(' ')[1]), headers, text: body.toString(), answers }
}

function isWhole(bytes: Buffer): boolean {
  const { headers, text } = readAnswer(bytes)
  return Buffer.byteLength(text) === Number(headers['content-length'])
}

function unchunked(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    if (lineEnd < 0 || !(size > 0)) break
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
  return Buffer.concat(parts)
}

export interface RawRequest {
  readonly method?: string
  readonly target?: string
  /** Header lines without line ends, in order; `Host` too. */
  readonly headers?: readonly string[]
  readonly body?: string | Uint8Array
}

export const chatPath = '/v1/chat/completions'

/** A request as bytes, with nothing added but `connection: close` and, for a body, its length. */
export function requestBytes({ method = 'POST', target = chatPath, headers = [], body }: RawRequest): Buffer {
  const bytes = Buffer.from(body ?? '')
  const isFramed = headers.some((line) => /^(content-length|transfer-encoding)\b/i.test(line))
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...headers,
    ...(headers.some((line) => /^connection\b/i.test(line)) ? [] : ['connection: close']),
    ...(body === undefined || isFramed ? [] : [`content-length: ${bytes.length}`]),
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes])
}

/** Chunked transfer coding of parts, the last chunk included. */
export function* chunked(parts: Iterable<string | Uint8Array>): Generator<Buffer> {
  for (const part of parts) {
    const bytes = Buffer.from(part)
    if (bytes.length > 0)
      yield Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
  }
  yield Buffer.from('0\r\n\r\n')
}
