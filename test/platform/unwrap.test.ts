import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { unwrapKey } from '../../src/platform/unwrap.ts'

const plain = 'the plain key of this test'
const closing: (() => unknown)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** A program that does this with what it reads. */
const program = (does: string) => ({ kind: 'command', command: [process.execPath, '-e', does] }) as const
/** What is wrapped is written backwards. */
const backwards = `let t='';process.stdin.on('data',c=>t+=c).on('end',()=>console.log([...t].reverse().join('')))`
const wrapped = plain.replaceAll(' ', '_').split('').toReversed().join('')

async function service(answer: (request: IncomingMessage, body: string, response: ServerResponse) => void) {
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => answer(request, body, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/unwrap`
}

const refusal = (asked: Promise<string>): Promise<string> =>
  asked.then(
    () => 'nothing was refused',
    (error: Error) => error.message,
  )

describe('a program', () => {
  test('reads the wrapped key and writes the plain one', async () => {
    expect(await unwrapKey(program(backwards), wrapped)).toBe(plain.replaceAll(' ', '_'))
  })

  test.each([
    ['process.exit(3)', 'refused it'],
    ['console.log("short")', 'gave no key of at least 16 printable ASCII characters'],
    ['process.stdout.write("x".repeat(100000))', 'said more than a key'],
  ])('that does %s stops the start, and nothing of what it said is told', async (does, why) => {
    expect(await refusal(unwrapKey(program(does), wrapped))).toBe(
      `vendor_keys.unwrap: the service that keeps the key ${why}.`,
    )
  })

  test('that is not there, or says nothing for too long, stops it too', async () => {
    const absent = { kind: 'command', command: ['no-such-program-anywhere'] } as const
    const silent = program('setInterval(() => {}, 1000)')
    expect(await Promise.all([refusal(unwrapKey(absent, wrapped)), refusal(unwrapKey(silent, wrapped, 200))])).toEqual([
      'vendor_keys.unwrap: the service that keeps the key could not be asked.',
      'vendor_keys.unwrap: the service that keeps the key did not answer in time.',
    ])
  })
})

describe('an address', () => {
  test('is posted the wrapped key, with the right to ask, and answers with the plain one', async () => {
    const url = await service((request, body, response) => {
      const isRight = request.method === 'POST' && request.headers.authorization === 'Bearer kms' && body === wrapped
      response.writeHead(isRight ? 200 : 403).end(isRight ? `${plain}\n` : 'no')
    })
    expect(await unwrapKey({ kind: 'url', url, authorization: 'Bearer kms' }, wrapped)).toBe(plain)
    expect(await refusal(unwrapKey({ kind: 'url', url }, wrapped))).toBe(
      'vendor_keys.unwrap: the service that keeps the key refused it with status 403.',
    )
  })

  test.each([
    ['sends elsewhere', (response: ServerResponse) => response.writeHead(302, { location: '/other' }).end()],
    ['breaks off', (response: ServerResponse) => response.destroy()],
  ])('that %s stops the start', async (_, answer) => {
    const url = await service((_request, _body, response) => void answer(response))
    expect(await refusal(unwrapKey({ kind: 'url', url }, wrapped))).toContain('could not be asked')
  })

  test('that says too much, or nothing for too long, stops it too', async () => {
    const loud = await service((_request, _body, response) => void response.writeHead(200).end('x'.repeat(10_000)))
    const silent = await service(() => {})
    expect(
      await Promise.all([
        refusal(unwrapKey({ kind: 'url', url: loud }, wrapped)),
        refusal(unwrapKey({ kind: 'url', url: silent }, wrapped, 200)),
      ]),
    ).toEqual([
      'vendor_keys.unwrap: the service that keeps the key said more than a key.',
      'vendor_keys.unwrap: the service that keeps the key did not answer in time.',
    ])
  })
})
