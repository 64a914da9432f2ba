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
    asked.resolve({ client: nodeClient({ incoming, outgoing, stallMs }).client, closed })
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
