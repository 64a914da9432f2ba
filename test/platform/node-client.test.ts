import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { nodeClient } from '../../src/platform/node-client.ts'
import type { Client } from '../../src/ports.ts'

let server: Server | undefined
let caller: Socket | undefined
afterEach(() => {
  caller?.destroy()
  server?.closeAllConnections()
  server?.close()
})

/** A caller who asks and reads nothing, and the call as the gateway has it. */
async function silentCaller(stallMs: number): Promise<{ client: Client; closed: Promise<unknown> }> {
  const asked = Promise.withResolvers<{ client: Client; closed: Promise<unknown> }>()
  server = createServer((incoming, outgoing) => {
    const closed = once(outgoing, 'close')
    asked.resolve({ client: nodeClient({ incoming, outgoing, stallMs }), closed })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  caller = connect((server.address() as AddressInfo).port, '127.0.0.1')
  caller.pause()
  caller.on('error', () => {})
  caller.write('GET / HTTP/1.1\r\nhost: gateway\r\n\r\n')
  return asked.promise
}

/** More than the sockets of both sides hold. */
const much = new Uint8Array(32 * 1024 * 1024)

test('a caller who takes nothing of the end of his answer is cut off', async () => {
  const { client, closed } = await silentCaller(100)
  client.open(200, { 'content-length': String(much.length) })
  client.end(much)
  await closed
  expect(client.gone).toBe(true)
})

test('a caller who reads gets all of it', async () => {
  const { client, closed } = await silentCaller(1_000)
  client.open(200, { 'content-length': String(much.length) })
  client.end(much)
  const { promise: whole, resolve } = Promise.withResolvers<void>()
  let read = 0
  const take = (chunk: Buffer): void => {
    read += chunk.length
    if (read >= much.length) resolve()
  }
  caller?.on('data', take).resume()
  await Promise.all([whole, closed])
  expect(client.gone).toBe(false)
})

/** All that a caller gets who asks in these words, as text. */
async function got(request: string, answer: (client: Client) => void): Promise<string> {
  server = createServer((incoming, outgoing) => answer(nodeClient({ incoming, outgoing, stallMs: 1_000 })))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  caller = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  caller.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  caller.write(request)
  await once(caller, 'close')
  return text.slice(text.indexOf('\r\n\r\n') + 4)
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
/** Bytes as a string with a character for each. */
const latin1 = (text: string): string => Buffer.from(text).toString('latin1')
const closing = 'GET / HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n'

test('a stream is framed in chunks, each as it was written', async () => {
  const long = 'x'.repeat(20_000)
  const text = await got(closing, (client) => {
    client.open(200, { 'content-type': 'text/event-stream' })
    for (const part of ['one', '', 'zwei €', long]) client.write(bytes(part))
    client.end(bytes('end'))
  })
  expect(text).toBe(`3\r\none\r\n8\r\n${latin1('zwei €')}\r\n4e20\r\n${long}\r\n3\r\nend\r\n0\r\n\r\n`)
})

test.each([
  ['nothing', '', '0\r\n\r\n'],
  ['much', 'y'.repeat(20_000), `4e20\r\n${'y'.repeat(20_000)}\r\n0\r\n\r\n`],
])('a stream that ends with %s is framed to its end', async (_, last, expected) => {
  const text = await got(closing, (client) => {
    client.open(200, {})
    client.end(last === '' ? undefined : bytes(last))
  })
  expect(text).toBe(expected)
})

test('a caller of HTTP/1.0 gets a stream without frames', async () => {
  const text = await got('GET / HTTP/1.0\r\nhost: gateway\r\n\r\n', (client) => {
    client.open(200, { 'content-type': 'text/event-stream' })
    client.write(bytes('one'))
    client.end(bytes('two'))
  })
  expect(text).toBe('onetwo')
})

test('a body of any bytes is sent as it is', async () => {
  const body = Uint8Array.from({ length: 256 }, (_, byte) => byte)
  const text = await got(closing, (client) => {
    client.open(200, { 'content-length': '256' })
    client.end(body)
  })
  expect(Buffer.from(text, 'latin1')).toEqual(Buffer.from(body))
})
