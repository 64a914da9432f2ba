import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBooks } from '../../src/db/books.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Receipt } from '../../src/ports.ts'
import { type Heard, streamCall } from '../support/caller.ts'
import { type GatewayProcess, startGatewayProcess, until } from '../support/process.ts'
import { type Behaviour, eventsOf, type FakeVendor, openStream, startVendor } from '../support/vendor.ts'

const key = 'master-key-of-the-stop-tests'
const text = 'a few words of an answer '
const events = eventsOf(text, { prompt_tokens: 3, completion_tokens: 5 })
const wordsOnly = events.length - 2

/** Every answer begins at once and goes on when the test says so. */
const unfinished: ServerResponse[] = []
const begin: Behaviour = (_, response) => {
  openStream(response)
  for (const event of events.slice(0, wordsOnly)) response.write(`data: ${event}\n\n`)
  unfinished.push(response)
}
function finish(response: ServerResponse | undefined): void {
  for (const event of events.slice(wordsOnly)) response?.write(`data: ${event}\n\n`)
  response?.end('data: [DONE]\n\n')
}

let vendor: FakeVendor
let home: string

beforeAll(async () => {
  vendor = await startVendor(begin)
  home = mkdtempSync(join(tmpdir(), 'tollgate-stop-'))
})
afterAll(async () => {
  await vendor.close()
  rmSync(home, { recursive: true, force: true })
})

function start(graceSeconds: number): Promise<GatewayProcess> {
  const config = join(home, 'tollgate.yaml')
  writeFileSync(
    config,
    `
server: { shutdown_grace_seconds: ${graceSeconds} }
vendors:
  fake: { adapter: openai, base_url: '${vendor.url}', api_keys: [vendor-secret] }
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
accounts:
  default: { starting_balance: 1 }
`,
  )
  return startGatewayProcess({
    TOLLGATE_CONFIG: config,
    TOLLGATE_DATA_DIR: join(home, 'data'),
    TOLLGATE_MASTER_KEY: key,
  })
}

const body = { model: 'test-model', messages: [{ role: 'user', content: 'Say a few words.' }] }

/** A stream under way: its caller has all words and no end. */
async function underWay({ url }: GatewayProcess) {
  const call = streamCall({ url, key, body })
  await until('a stream under way', () => (call.heard.text === text ? true : undefined))
  return call
}

/** Until a gateway that was told to stop has heard it. */
async function stopping({ url }: GatewayProcess): Promise<Response> {
  return until('a gateway that stops', async () => {
    const answer = await fetch(`${url}/readyz`)
    return answer.status === 503 && (await answer.clone().text()).includes('"accepting":false') ? answer : undefined
  })
}

async function receiptOf(id: string): Promise<Receipt | undefined> {
  const database = await openPglite(join(home, 'data', 'pglite'))
  const books = openBooks(database)
  const found = await books.findKey(await onlyMasterHash(database))
  const receipt = await books.receipt({ accountId: found?.account?.id ?? 0, keyId: found?.chain[0]?.id ?? 0, id })
  expect(await books.check({ all: true })).toEqual([])
  await database.close()
  return receipt
}

async function onlyMasterHash(database: Awaited<ReturnType<typeof openPglite>>): Promise<string> {
  const [row] = await database.query<{ hash: string }>("SELECT hash FROM api_key WHERE kind = 'master'")
  return row?.hash ?? ''
}

describe('a gateway that is told to stop in mid-stream', () => {
  let heard: Heard
  let readiness: number
  let refusal: { status: number; retryAfter: string | null; code: string }
  let code: number | string
  let receipt: Receipt | undefined

  beforeAll(async () => {
    const gateway = await start(60)
    const call = await underWay(gateway)
    const ended = gateway.kill('SIGTERM')
    readiness = (await stopping(gateway)).status
    const late = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const { error } = (await late.json()) as { error: { code: string } }
    refusal = { status: late.status, retryAfter: late.headers.get('retry-after'), code: error.code }
    finish(unfinished.at(-1))
    heard = await call.over
    code = await ended
    receipt = await receiptOf(heard.id)
  })

  test('lets the stream finish and charges it in full', () => {
    expect([heard.text, heard.done, heard.error]).toEqual([text, true, undefined])
    expect([receipt?.outcome, receipt?.source, receipt?.charge]).toEqual(['complete', 'vendor', 3_000n + 10_000n])
  })

  test('is not ready, and refuses new calls with a 503 that may be tried again', () => {
    expect(readiness).toBe(503)
    expect(refusal).toEqual({ status: 503, retryAfter: '1', code: 'shutting_down' })
  })

  test('ends with 0', () => {
    expect(code).toBe(0)
  })
})

describe('a call whose vendor has not answered when the gateway stops', () => {
  let refusal: { status: number; code: string }
  let receipt: Receipt | undefined

  beforeAll(async () => {
    const asked = Promise.withResolvers<void>()
    vendor.behave(() => asked.resolve())
    const gateway = await start(1)
    const call = fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    await asked.promise
    const ended = gateway.kill('SIGTERM')
    const answer = await call
    const { error } = (await answer.json()) as { error: { code: string } }
    refusal = { status: answer.status, code: error.code }
    await ended
    receipt = await receiptOf(answer.headers.get('x-request-id') ?? '')
    vendor.behave(begin)
  })

  test('is refused with a 503 that may be tried again', () => {
    expect(refusal).toEqual({ status: 503, code: 'shutting_down' })
  })

  test('costs nothing and is in the books', () => {
    expect([receipt?.outcome, receipt?.error, receipt?.charge]).toEqual(['vendor_failed', 'shutting_down', 0n])
  })
})

describe('a stream that does not end when the gateway stops', () => {
  let heard: Heard
  let code: number | string
  let receipt: Receipt | undefined

  beforeAll(async () => {
    const gateway = await start(1)
    const call = await underWay(gateway)
    code = await gateway.kill('SIGTERM')
    heard = await call.over
    receipt = await receiptOf(heard.id)
  })

  test('is ended with an error frame after the grace', () => {
    expect([heard.text, heard.done, heard.error]).toEqual([text, false, 'shutting_down'])
  })

  test('is charged for what was forwarded', async () => {
    const tokenizer = await openTokenizer()
    const output = await tokenizer.count(text)
    await tokenizer.close()
    const input = receipt?.counts.input ?? 0
    expect(input).toBeGreaterThan(0)
    expect([receipt?.outcome, receipt?.source, receipt?.counts]).toEqual(['incomplete', 'counted', { input, output }])
    expect(receipt?.charge).toBe(BigInt(input) * 1_000n + BigInt(output) * 2_000n)
  })

  test('does not keep the gateway from ending with 0', () => {
    expect(code).toBe(0)
  })
})
