import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBooks } from '../../src/db/books.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { parseMoney } from '../../src/core/money.ts'
import { managementKey } from '../support/gateway.ts'
import { startProgram, until, type Program } from '../support/process.ts'
import {
  answerText,
  eventsOf,
  json,
  openStream,
  startVendor,
  type Behaviour,
  type FakeVendor,
} from '../support/vendor.ts'
import { chatBody, vendorKey } from './site.ts'
import { connectTo, requestBytes, sendRaw, type RawAnswer } from './wire.ts'

/* One gateway in a process of its own, as it is run: what it survives here, it survives there. */

const balance = 1_000_000_000_000_000n
const resets = 500
const atOnce = 25
const usage = { prompt_tokens: 10, completion_tokens: 24 }
const words = Array.from({ length: 24 }, (_, index) => `word${index} `).join('')

let vendor: FakeVendor
let gateway: Program
let url: string
let key: string
const folder = mkdtempSync(join(tmpdir(), 'tollgate-hostile-'))

const yaml = (vendorUrl: string): string => `
vendors:
  fake: { adapter: openai, base_url: "${vendorUrl}", api_keys: [${vendorKey}] }
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    max_output_tokens: 1000000
`

beforeAll(async () => {
  vendor = await startVendor(answerText(words, usage))
  writeFileSync(join(folder, 'tollgate.yaml'), yaml(vendor.url))
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    TOLLGATE_CONFIG: join(folder, 'tollgate.yaml'),
    TOLLGATE_DATA_DIR: join(folder, 'data'),
    TOLLGATE_MANAGEMENT_KEY: managementKey,
  }
  gateway = startProgram(['--import', './test/hostile/witness.ts', 'src/entry/node.ts'], env)
  url = await until('an address', () => /"event":"ready","url":"([^"]+)"/.exec(gateway.out())?.[1])
  const account = await asOperator('/admin/v1/accounts', { name: 'hostile' })
  await asOperator(`/admin/v1/accounts/${String(account['id'])}/recharges`, { amount: '1000000', reference: 'start' })
  key = String((await asOperator('/admin/v1/keys', { kind: 'master', account: account['id'], name: 'hostile' }))['key'])
})
afterAll(async () => {
  await gateway.kill('SIGKILL')
  await vendor.close()
  rmSync(folder, { recursive: true, force: true })
})

async function asOperator(path: string, body: unknown): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${managementKey}`, 'content-type': 'application/json' }
  const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as Record<string, unknown>
}

async function ask(path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(url + path, { headers: { authorization: `Bearer ${key}` } })).json()) as Record<
    string,
    unknown
  >
}

const requestOf = (body: string): Buffer =>
  requestBytes({ headers: ['Host: gateway', `Authorization: Bearer ${key}`], body })
const chat = (more: Record<string, unknown> = {}): Promise<RawAnswer> =>
  sendRaw(url, requestOf(chatBody(more)), { limitMs: 60_000 })

/** Until no call is under way; what is held by then is held for nobody. */
async function quiet(): Promise<unknown> {
  await until('a gateway without calls', async () => ((await ask('/v1/key'))['in_flight'] === 0 ? true : undefined))
  return (await ask('/v1/credits'))['held']
}

/** What the log says that calls were charged, in nano-USD. */
function chargedByLog(): bigint {
  const lines = gateway
    .out()
    .split('\n')
    .filter((line) => line.includes('"event":"call"'))
  return lines.reduce((sum, line) => sum + BigInt((JSON.parse(line) as { charge: string }).charge), 0n)
}

async function chargedByBooks(): Promise<bigint> {
  return balance - (parseMoney(String((await ask('/v1/credits'))['balance'])) ?? 0n)
}

/** What the process said of itself while the work was under way; /healthz answered all the time. */
async function watched(what: string, work: () => Promise<unknown>): Promise<void> {
  const from = gateway.error().length
  const state = { isOver: false, answers: 0 }
  const polling = (async () => {
    for (; !state.isOver; await wait(10)) {
      expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' })
      state.answers++
    }
  })()
  await work()
  state.isOver = true
  await polling
  await wait(250)
  const told = [
    ...gateway
      .error()
      .slice(from)
      .matchAll(/^gap (\d+) (\d+)$/gm),
  ]
  const most = (group: number): number => Math.max(...told.map((match) => Number(match[group])))
  console.info(`${what}: longest gap ${most(1)} ms, memory up to ${most(2)} MB, ${state.answers} health checks`)
  expect(state.answers).toBeGreaterThan(0)
}

/** A generator of the same numbers in every run, from 0 up to 1. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** A stream word by word, with a breath between the words. */
const breathing: Behaviour = async (call, response) => {
  if (call.body['stream'] !== true) return answerText(words, usage)(call, response)
  openStream(response)
  for (const event of [...eventsOf(words, usage), '[DONE]']) {
    if (response.destroyed) return
    response.write(`data: ${event}\n\n`)
    await wait(1)
  }
  response.end()
}

/** One caller who resets the connection: while he sends, while he waits, or after some of the answer. */
async function hangUp(random: () => number): Promise<void> {
  const bytes = requestOf(chatBody({ stream: random() < 0.8 }))
  const socket = await connectTo(url)
  const [where, share] = [random(), random()]
  if (where < 0.2) socket.write(bytes.subarray(0, Math.floor(bytes.length * share)))
  else socket.write(bytes)
  if (where >= 0.2 && where < 0.5) await wait(share * 40)
  if (where >= 0.5) await received(socket, 1 + Math.floor(share * 4_500))
  socket.resetAndDestroy()
}

function received(socket: Socket, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let size = 0
    socket.on('close', () => resolve())
    socket.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size >= bytes) resolve()
    })
  })
}

describe('callers who hang up', () => {
  test(`${resets} of them at any point leave no call, no hold and no wrong sum`, { timeout: 60_000 }, async () => {
    vendor.behave(breathing)
    const random = numbers(20_261_123)
    await watched(`${resets} resets`, async () => {
      for (let begun = 0; begun < resets; begun += atOnce)
        await Promise.all(Array.from({ length: atOnce }, () => hangUp(random)))
    })
    expect(await quiet()).toBe('0')
    const charged = await chargedByBooks()
    expect([charged, charged > 0n]).toEqual([chargedByLog(), true])
  })

  test('what each of them paid lies between nothing and the whole answer', () => {
    const charges = [...gateway.out().matchAll(/"event":"call".*?"charge":"(-?\d+)"/g)].map((match) => Number(match[1]))
    const whole = usage.prompt_tokens * 1_000 + usage.completion_tokens * 2_000
    // Our own count of the words may be above the vendor's: each is two or three tokens.
    expect(charges.filter((charge) => charge < 0 || charge > 3 * whole)).toEqual([])
  })

  test('a caller who does not read holds the vendor back', async () => {
    let sent = 0
    vendor.behave(async (_, response) => {
      openStream(response)
      const event = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'words and more words '.repeat(50) } }] })}\n\n`
      while (!response.destroyed && sent < 200_000_000) {
        sent += event.length
        if (!response.write(event)) await drained(response)
      }
    })
    const socket = await connectTo(url)
    socket.pause()
    socket.write(requestOf(chatBody({ stream: true })))
    await until('a vendor at rest', async () => {
      const before = sent
      await wait(300)
      return before > 0 && before === sent ? true : undefined
    })
    expect(sent).toBeLessThan(50_000_000)
    socket.resetAndDestroy()
    expect(await quiet()).toBe('0')
  })

  test('300 callers who send a byte now and then keep nobody from being served', async () => {
    vendor.behave(answerText(words, usage))
    const sockets = await Promise.all(Array.from({ length: 300 }, () => connectTo(url)))
    const bytes = requestOf(chatBody())
    for (let at = 0; at < 20; at++) {
      for (const [index, socket] of sockets.entries())
        socket.write(bytes.subarray(at * (index % 9), (at + 1) * (index % 9)))
      await wait(10)
    }
    expect((await chat()).status).toBe(200)
    for (const socket of sockets) socket.resetAndDestroy()
  })
})

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}

describe('work that could stop everything else', () => {
  const reasoning = JSON.stringify({ choices: [{ index: 0, delta: { reasoning_content: 'a'.repeat(50) } }] })
  const chinese = JSON.stringify({ choices: [{ index: 0, delta: { reasoning_content: '我们今天去看电影然后吃饭' } }] })
  const closing = ['{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}', '[DONE]']
  const work: Record<string, [behaviour: Behaviour, call: Record<string, unknown>]> = {
    'a prompt of 1 MB of "a" that we count': [
      answerText(words),
      { messages: [{ role: 'user', content: 'a'.repeat(1_000_000) }] },
    ],
    'a prompt of 1 MB of Chinese that we count': [
      answerText(words),
      { messages: [{ role: 'user', content: '我们今天去看电影然后吃饭'.repeat(28_000) }] },
    ],
    'a body of 5 MB': [
      answerText(words, usage),
      { messages: [{ role: 'user', content: 'some words of a long prompt '.repeat(180_000) }] },
    ],
    'a body of 10,000 messages': [
      answerText(words, usage),
      { messages: Array.from({ length: 10_000 }, () => ({ role: 'user', content: 'hi' })) },
    ],
    '500,000 characters of reasoning without usage': [
      answerEvents([...Array.from({ length: 10_000 }, () => reasoning), ...closing]),
      { stream: true },
    ],
    '500,000 characters of Chinese reasoning without usage': [
      answerEvents([...Array.from({ length: 42_000 }, () => chinese), ...closing]),
      { stream: true },
    ],
    'the same, gathered into one body': [
      answerEvents([...Array.from({ length: 10_000 }, () => reasoning), ...closing]),
      { max_tokens: 900_000 },
    ],
    'an unstreamed answer of 5 MB': [answerText('word '.repeat(1_000_000)), {}],
  }
  test.each(Object.entries(work))('%s', async (name, [behaviour, call]) => {
    vendor.behave(behaviour)
    const answers: RawAnswer[] = []
    await watched(name, async () => void answers.push(await chat(call)))
    expect([answers[0]?.status, answers[0]?.text.includes('"error"')]).toEqual([200, false])
    expect(await quiet()).toBe('0')
  })

  function answerEvents(events: readonly string[]): Behaviour {
    return (_, response) => {
      openStream(response)
      response.end(events.map((event) => `data: ${event}\n\n`).join(''))
    }
  }
})

describe('after all that', () => {
  test('a vendor whose error cannot be read fails its call alone', async () => {
    vendor.behave((_, response) => json(response, 500, { error: { message: { deep: [] } } }))
    expect((await chat()).status).toBe(502)
  })

  test('it is still the same process, and nothing was thrown that nobody caught', () => {
    expect(
      gateway
        .error()
        .split('\n')
        .filter((line) => line !== '' && !/^gap \d+ \d+$/.test(line)),
    ).toEqual([])
  })

  test('the log and the books agree on every charge', async () => {
    expect(await quiet()).toBe('0')
    expect(await chargedByBooks()).toBe(chargedByLog())
  })

  test('no log line holds a key', () => {
    expect(
      gateway
        .out()
        .split('\n')
        .filter(
          (line) => line.startsWith('{') && [key, vendorKey, managementKey].some((secret) => line.includes(secret)),
        ),
    ).toEqual([])
  })

  test('it stops in order, and the books that it leaves are right', async () => {
    expect(await gateway.kill('SIGTERM')).toBe(0)
    const database = await openPglite(join(folder, 'data', 'pglite'))
    const faults = await openBooks(database).check({ all: true })
    await database.close()
    expect(faults).toEqual([])
  })
})
