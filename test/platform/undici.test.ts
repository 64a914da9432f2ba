import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openUndici } from '../../src/platform/undici.ts'

/*
 * Time passes for undici before it is used for the first time, since all of its clients share one timer. A request of
 * undici's own settings is sent beside each of ours: without its end nobody knew whether time had passed at all.
 */

const [minutes, minuteMs] = [120, 60_000]
const answers: ServerResponse[] = []
const server = createServer((incoming, response) => {
  answers.push(response)
  if (incoming.url === '/begun') response.writeHead(200).write('a')
})
const ours = openUndici()
const plain = new Agent()

beforeAll(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  vi.useRealTimers()
  await Promise.all([ours.close(), plain.destroy()])
  server.closeAllConnections()
  server.close()
})

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a vendor may be silent for hours, before its status and after it', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const ends: string[] = []
  const heard: string[] = []
  const sendings = ['/', '/begun'].map((path) =>
    ours.send(
      { method: 'POST', url: url + path, headers: {}, body: new Uint8Array(1), connectMs: 5_000 },
      {
        head: ({ status }) => heard.push(`${path} ${status}`),
        data: (chunk) => heard.push(`${path} ${new TextDecoder().decode(chunk)}`),
        end: () => ends.push(`${path} ended`),
        fail: (error) => ends.push(`${path} ${error.message}`),
      },
    ),
  )
  const others = ['/', '/begun'].map((path) =>
    request(url + path, { method: 'POST', dispatcher: plain })
      .then(({ body }) => body.text())
      .catch((error: { readonly code?: string }) => ends.push(`default ${path} ${error.code}`)),
  )
  while (answers.length < 4 || heard.length < 2) await turn()
  for (let step = 0; step < minutes; step++) {
    await vi.advanceTimersByTimeAsync(minuteMs)
    await turn()
  }
  await Promise.all(others)
  expect(ends.toSorted()).toEqual(['default / UND_ERR_HEADERS_TIMEOUT', 'default /begun UND_ERR_BODY_TIMEOUT'])
  for (const answer of answers) answer.end('z')
  while (ends.length < 4) await turn()
  expect([ends.slice(2).toSorted(), heard.toSorted()]).toEqual([
    ['/ ended', '/begun ended'],
    ['/ 200', '/ z', '/begun 200', '/begun a', '/begun z'],
  ])
  for (const sending of sendings) sending.abort()
})

test('who gives up hears nothing of what had come with it, and the connection is left to others', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const heard: string[] = []
  const ask = (onHead: () => void) =>
    ours.send(
      { method: 'POST', url: `${url}/whole`, headers: {}, body: new Uint8Array(1), connectMs: 5_000 },
      {
        head: () => onHead(),
        data: () => heard.push('data'),
        end: () => heard.push('end'),
        fail: () => heard.push('fail'),
      },
    )
  const before = answers.length
  let isTold = false
  const sending = ask(() => {
    sending.abort()
    isTold = true
  })
  while (answers.length === before) await turn()
  answers.at(-1)?.end('a whole answer')
  while (!isTold) await turn()
  await turn()
  const atAbort = [...heard]
  ask(() => {})
  while (answers.length === before + 1) await turn()
  answers.at(-1)?.end('another')
  while (!heard.includes('end')) await turn()
  expect([atAbort, heard]).toEqual([[], ['data', 'end']])
})

test('of a vendor who sends faster than the caller takes no more comes than one turn of the loop may bring', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const wholeBytes = 8 * 1024 * 1024
  let [taken, hasEnded] = [0, false]
  const before = answers.length
  const sending = ours.send(
    { method: 'POST', url: `${url}/long`, headers: {}, body: new Uint8Array(1), connectMs: 5_000 },
    {
      head: () => {},
      data: (chunk) => {
        taken += chunk.length
        sending.pause()
      },
      end: () => (hasEnded = true),
      fail: () => {},
    },
  )
  while (answers.length === before) await turn()
  answers.at(-1)?.end(Buffer.alloc(wholeBytes))
  while (taken === 0) await turn()
  for (let at = 0; at < 100; at++) await turn()
  const whilePaused = taken
  while (!hasEnded) {
    sending.resume()
    await turn()
  }
  expect(whilePaused).toBeLessThanOrEqual(192 * 1024)
  expect(taken).toBe(wholeBytes)
})
