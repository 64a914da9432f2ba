import type { IncomingMessage, ServerResponse } from 'node:http'
import { callerAddress, networkName } from '../core/address.ts'
import { type Served, servedPaths, told, tooLate } from '../app.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { nodeClient } from '../platform/node-client.ts'
import type { Client, Settings } from '../ports.ts'

/*
 * The short way of a call: the router and the web's requests and responses cost more than all else that a small call
 * needs of HTTP, and most calls come to a few paths without parameters. Whatever is not one of those goes to the
 * router, which has the same paths.
 */

/** Serves a call at a path that is written plainly; says false for any other request, which it has not touched. */
export function openDirect(gateway: Gateway): (incoming: IncomingMessage, outgoing: ServerResponse) => boolean {
  const plain = new Map(
    servedPaths(gateway).flatMap((served) => (/[:*{]/.test(served.path) ? [] : [[served.path, served] as const])),
  )
  return (incoming, outgoing) => {
    const { method, url = '' } = incoming
    const query = url.indexOf('?')
    const served = method === 'POST' ? plain.get(query < 0 ? url : url.slice(0, query)) : undefined
    if (!served) return false
    serve(gateway, served, { incoming, outgoing, search: query < 0 ? '' : url.slice(query + 1) })
    return true
  }
}

interface Exchange {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly search: string
}

function serve(gateway: Gateway, { path, front, work }: Served, { incoming, outgoing, search }: Exchange): void {
  const { crypto, clock, log, settings, later } = gateway.platform
  const id = crypto.uuidv7(clock.now())
  const client = nodeClient({ incoming, outgoing, stallMs: settings.stallMs })
  const address = () => addressOf(incoming, client, settings)
  const query = (name: string) => (search === '' ? undefined : (new URLSearchParams(search).get(name) ?? undefined)) // allowed -- that of the address, not of a database
  const answering = work({ front, client, id, path, query, address }).catch((caught) => {
    // From the status line on the answer itself tells.
    if (outgoing.headersSent || outgoing.destroyed) return tooLate(log, caught, { id })
    const { status, headers, body } = front.failure(told(log, caught, { id, path }), id)
    const text = JSON.stringify(body)
    outgoing.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'x-request-id': id,
      ...headers,
    })
    outgoing.end(text)
  })
  later(answering)
}

/** As whose address a caller's counts; undefined where nobody can tell. */
export function addressOf(
  incoming: IncomingMessage,
  { header }: Client,
  { trustedProxies: trusted = [] }: Settings,
): string | undefined {
  const peer = incoming.socket.remoteAddress
  const address = callerAddress({ peer, forwarded: header('x-forwarded-for'), trusted })
  return address && networkName(address)
}
