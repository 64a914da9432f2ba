import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { GatewayError } from '../core/errors.ts'
import { chat } from '../fronts/chat.ts'

/*
 * What no route ever sees: bytes that are no HTTP, and requests that two parsers may read in two ways. They are
 * answered in the same form as every other error, because SDKs show that form to people.
 */

/** For the answer to be read by one who is still sending; after it the connection is broken off. */
const lingerMs = 2_000
/** A name or an address, with a port or without. Nothing that could carry a path, a user or another host. */
const plainHost = /^(?:[a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,64}\])(?::(?<port>\d{1,5}))?$/i
const mostPort = 65_535
/** Segments "." and "..", "\", "#", and escapes of characters that need none: proxies disagree on what they mean. */
const crookedPath = /[\\#]|\/\.{1,2}(?:\/|$)|%(?:2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/i

/** What is wrong with the frame of a request, or undefined. It is refused before anything looks at it. */
export function faultOf({ url = '', rawHeaders }: IncomingMessage): GatewayError | undefined {
  // Node would make a second copy of all headers to tell this, and keep it for as long as the answer lasts.
  const host = plainHost.exec(onlyHost(rawHeaders) ?? '')
  if (!host || Number(host.groups?.['port'] ?? 0) > mostPort)
    return new GatewayError('invalid_value', 'Send one Host header with a host name, and a port where needed.')
  // An absolute target is allowed to proxies; its scheme and host say nothing here.
  const query = url.indexOf('?')
  const address = query < 0 ? url : url.slice(0, query)
  const path = address.startsWith('/') ? address : address.replace(/^https?:\/\/[^/?#]*/i, '')
  if (!crookedPath.test(path)) return undefined
  return new GatewayError(
    'invalid_value',
    'Write the path plainly: without "." and ".." segments, "\\", "#", and escaped letters or digits.',
  )
}

/** The one host that is named; undefined where there is none or more than one. Names and values take turns. */
function onlyHost(rawHeaders: readonly string[]): string | undefined {
  let host: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]
    if (name?.length !== 4 || name.toLowerCase() !== 'host') continue
    if (host !== undefined) return undefined
    host = rawHeaders[at + 1]
  }
  return host
}

/** The answer where the router could make no request of what came. */
export function unreadable(id: string): Response {
  const { status, headers, text } = answerOf(invalidHttp(), id)
  return new Response(text, { status, headers })
}

function invalidHttp(): GatewayError {
  return new GatewayError('invalid_value', 'This is no valid request of HTTP/1.1.')
}

/** Answers an error before any route has seen the request. */
export function refuseRequest(outgoing: ServerResponse, error: GatewayError, id: string): void {
  const { status, headers, text } = answerOf(error, id)
  outgoing.writeHead(status, headers)
  outgoing.end(text)
}

/** Takes over what Node would answer without a body or not at all. `newId` names each answer. */
export function refuseBroken(server: Server, newId: () => string): void {
  const answering = new WeakMap<Duplex, ServerResponse>()
  server.on('request', (incoming, outgoing) => answering.set(incoming.socket, outgoing))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const answer = answering.get(socket)
    const isMidAnswer = answer?.headersSent === true && !answer.writableFinished
    const refusal = refusalOf(error)
    // Bytes of ours in the middle of another answer would be taken for a part of it.
    if (!refusal || !socket.writable || isMidAnswer) socket.destroy()
    else refuseSocket(socket, refusal, newId())
  })
  server.on('connect', (_, socket) => {
    socket.on('error', () => socket.destroy())
    refuseSocket(socket, new GatewayError('method_not_allowed', 'This is no proxy: CONNECT is not served.'), newId())
  })
  server.on('checkExpectation', (_, outgoing) => {
    const error = new GatewayError('invalid_value', 'Only "100-continue" may be expected.', { status: 417 })
    refuseRequest(outgoing, error, newId())
  })
}

/** What Node's parser found wrong; undefined where the connection itself broke and nobody listens any more. */
function refusalOf({ code = '' }: NodeJS.ErrnoException): GatewayError | undefined {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('request_too_large', 'The headers are too large.', { status: 431 })
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new GatewayError('request_too_large', 'The chunk extensions are too large.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('request_timeout', 'The request did not come in time.')
    default:
      return code.startsWith('HPE_') ? invalidHttp() : undefined
  }
}

function refuseSocket(socket: Duplex, error: GatewayError, id: string): void {
  const { status, headers, text } = answerOf(error, id)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${text}`)
  setTimeout(() => socket.destroy(), lingerMs).unref()
}

/** An answer after which the connection closes: what else came over it cannot be trusted. */
function answerOf(error: GatewayError, id: string): { status: number; headers: Record<string, string>; text: string } {
  const { status, headers, body } = chat.failure(error)
  const text = JSON.stringify(body)
  return {
    status,
    text,
    headers: {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(text)),
      'x-request-id': id,
      connection: 'close',
      ...headers,
    },
  }
}
