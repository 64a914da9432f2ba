import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { endedCalls, standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, json, startVendor, type FakeVendor } from '../support/vendor.ts'
import { says, wires } from '../support/wires.ts'

const usage = { prompt_tokens: 10, completion_tokens: 3 }
const messages = [{ role: 'user', content: 'Hi' }]
const contents = [{ role: 'user', parts: [{ text: 'Hi' }] }]

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

const [openai, anthropic] = wires
if (!openai || !anthropic) throw new Error('no wires')

const modelOf = (name: string, vendors: readonly string[]) => `
  ${name}:
    targets: [${vendors.map((id) => `{ vendor: ${id}, model: vendor-model }`).join(', ')}]
    prices: { input: 1, output: 2 }
    max_output_tokens: 4096`

beforeAll(async () => {
  vendor = await startVendor()
  const entry = (id: string, adapter: string) =>
    `  ${id}: { adapter: ${adapter}, base_url: ${vendor.url}/${id}, api_keys: [secret-of-ours] }`
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: [entry('claude', 'anthropic'), entry('other', 'openai')].join('\n'),
    models: [
      modelOf('claude-model', ['claude']),
      modelOf('either-model', ['claude', 'other']),
      modelOf('chat-model', ['other']),
    ].join(''),
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  vendor.calls.length = 0
  account = await gateway.account('1')
})

interface Sent {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly method?: string
}

async function send(path: string, { body, headers, method }: Sent = {}) {
  const response = await fetch(gateway.url + path, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { 'content-type': 'application/json', ...(headers ?? { authorization: `Bearer ${account.key}` }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) as Record<string, unknown> }
}

const chat = (more: Record<string, unknown>) => send('/v1/chat/completions', { body: { messages, ...more } })

describe('a parameter', () => {
  test('that the vendor has no word for and that changes no answer much is left out, and named', async () => {
    vendor.behave(says(anthropic, 'Hello', usage))
    const { status, headers } = await chat({ model: 'claude-model', seed: 7, wished: true })
    expect([status, headers.get('x-tollgate-dropped-params')?.split(',').toSorted()]).toEqual([200, ['seed', 'wished']])
  })

  test('is not named where the vendor speaks the dialect and gets it', async () => {
    vendor.behave(answerText('Hello', usage))
    const { headers } = await chat({ model: 'chat-model', seed: 7, wished: true })
    expect([headers.get('x-tollgate-dropped-params'), vendor.calls[0]?.body['wished']]).toEqual([null, true])
  })

  test('that the vendor cannot serve is refused by its name, and nothing is held or recorded', async () => {
    const { status, body } = await chat({ model: 'claude-model', n: 2 })
    expect([status, (body['error'] as Record<string, unknown>)['param']]).toEqual([400, 'n'])
    expect([vendor.calls, await endedCalls(gateway, account.key)]).toEqual([[], []])
    expect(await standing(gateway, account)).toEqual({ balance: 1_000_000_000n, held: 0n, inFlight: 0 })
  })

  test('that the first vendor cannot serve goes to another that can, as its first attempt', async () => {
    vendor.behave(answerText('Hello', usage))
    const { status, headers } = await chat({ model: 'either-model', n: 2 })
    expect([status, headers.get('x-tollgate-vendor'), headers.get('x-tollgate-attempts')]).toEqual([200, 'other', '1'])
    expect(vendor.calls.map(({ path }) => path)).toEqual(['/other/chat/completions'])
  })

  test('that the first vendor cannot serve is not what the caller hears where another has failed', async () => {
    vendor.behave((_, response) => json(response, 500, {}))
    const { status, body } = await chat({ model: 'either-model', n: 2 })
    expect([status, (body['error'] as Record<string, unknown>)['code']]).toEqual([502, 'vendor_error'])
  })
})

describe('a stream as one JSON array', () => {
  const path = (model: string) => `/v1beta/models/${model}:streamGenerateContent`

  test.each(['chat-model', 'claude-model'])('of %s is one when all of it has come', async (model) => {
    vendor.behave(says(model === 'chat-model' ? openai : anthropic, 'One two three', usage))
    const { status, headers, text } = await send(path(model), { body: { contents } })
    const elements = JSON.parse(text) as { candidates: { content?: { parts?: { text?: string }[] } }[] }[]
    const said = elements.flatMap(
      ({ candidates }) => candidates[0]?.content?.parts?.map((part) => part.text ?? '') ?? [],
    )
    expect([status, headers.get('content-type'), said.join('')]).toEqual([
      200,
      'application/json; charset=utf-8',
      'One two three',
    ])
    expect(elements.length).toBeGreaterThan(2)
  })

  test('that breaks ends with the error, and is whole JSON still', async () => {
    const frames = openai.frames('One two three', usage).slice(0, 3)
    vendor.behave((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(frames.join(''), () => response.destroy())
    })
    const { text } = await send(path('chat-model'), { body: { contents } })
    const elements = JSON.parse(text) as Record<string, unknown>[]
    expect(elements.at(-1)).toEqual({
      error: expect.objectContaining({ code: 502, status: expect.any(String) as string }) as unknown,
    })
  })
})

describe('the tokens of a prompt', () => {
  const count = { model: 'claude-model', messages }

  test('are counted by the vendor that can', async () => {
    vendor.behave((_, response) => json(response, 200, { input_tokens: 123 }))
    const { status, body } = await send('/v1/messages/count_tokens', { body: count })
    expect([status, body, vendor.calls.map(({ path }) => path)]).toEqual([
      200,
      { input_tokens: 123 },
      ['/claude/messages/count_tokens'],
    ])
    expect([await endedCalls(gateway, account.key), (await standing(gateway, account)).balance]).toEqual([
      [],
      1_000_000_000n,
    ])
  })

  test.each([
    ['fails', 'claude-model'],
    ['has no way to', 'chat-model'],
  ])('are counted here where the vendor %s', async (_, model) => {
    vendor.behave((__, response) => json(response, 500, {}))
    const { status, body } = await send('/v1/messages/count_tokens', { body: { ...count, model } })
    // "user" and "Hi", three around the message, three before the answer.
    expect([status, body]).toEqual([200, { input_tokens: 8 }])
  })

  test('are counted for Google at its own path', async () => {
    const { body } = await send('/v1beta/models/chat-model:countTokens', { body: { contents } })
    expect(body).toEqual({ totalTokens: 8 })
  })
})

describe('the list of models', () => {
  const bearer = () => ({ authorization: `Bearer ${account.key}` })

  test("is OpenAI's by itself, and Anthropic's for whoever names its version", async () => {
    const own = await send('/v1/models', { headers: bearer() })
    const theirs = await send('/v1/models', { headers: { ...bearer(), 'anthropic-version': '2023-06-01' } })
    const names = (list: unknown) => (list as { id: string }[]).map(({ id }) => id)
    expect([own.body['object'], theirs.body['has_more']]).toEqual(['list', false])
    expect(names(theirs.body['data'])).toEqual(names(own.body['data']))
    expect((theirs.body['data'] as { id: string }[]).find(({ id }) => id === 'chat-model')).toEqual({
      type: 'model',
      id: 'chat-model',
      display_name: 'chat-model',
      created_at: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      max_tokens: 4096,
    })
  })

  test("is Google's at its own path, for a key in the address", async () => {
    const list = await send(`/v1beta/models?key=${account.key}`, { headers: {} })
    const one = await send('/v1beta/models/chat-model', { headers: bearer() })
    const model = {
      name: 'models/chat-model',
      displayName: 'chat-model',
      outputTokenLimit: 4096,
      supportedGenerationMethods: ['generateContent', 'countTokens'],
    }
    expect([list.body['models'], one.body]).toEqual([expect.arrayContaining([model]), model])
  })
})

describe('a key', () => {
  const path = '/v1beta/models/chat-model:generateContent'

  test.each([
    ['as a bearer token', '/v1/messages', (key: string) => ({ authorization: `Bearer ${key}` })],
    ["where Anthropic's SDKs put it", '/v1/messages', (key: string) => ({ 'x-api-key': key })],
    ["where Google's SDKs put it", path, (key: string) => ({ 'x-goog-api-key': key })],
  ])('%s opens a call', async (_, at, headers) => {
    vendor.behave(answerText('Hello', usage))
    const body = at === path ? { contents } : { model: 'chat-model', max_tokens: 9, messages }
    expect((await send(at, { body, headers: headers(account.key) })).status).toBe(200)
  })

  test('in the address opens a call of the dialect that has it there, and stands in no log', async () => {
    vendor.behave(answerText('Hello', usage))
    expect((await send(`${path}?key=${account.key}`, { body: { contents }, headers: {} })).status).toBe(200)
    expect(gateway.log.filter((line) => line.includes(account.key))).toEqual([])
  })

  test('in the address opens no call of another dialect', async () => {
    const body = { model: 'chat-model', messages }
    expect((await send(`/v1/chat/completions?key=${account.key}`, { body, headers: {} })).status).toBe(401)
  })

  test('that is another in the header than in the address opens nothing', async () => {
    const headers = { 'x-goog-api-key': 'another' }
    expect((await send(`${path}?key=${account.key}`, { body: { contents }, headers })).status).toBe(401)
  })
})

describe('an error', () => {
  const anthropicForm = (type: string) => ({ type: 'error', error: expect.objectContaining({ type }) as unknown })
  const googleForm = (code: number) => ({ error: expect.objectContaining({ code }) as unknown })
  const openaiForm = (code: string) => ({ error: expect.objectContaining({ code }) as unknown })

  test.each([
    ['of a path that is not there', 'POST', '/v1/messages/nothing', 404, anthropicForm('not_found_error')],
    ['of a path that is not there', 'POST', '/v1beta/nothing', 404, googleForm(404)],
    ['of a path that is not there', 'POST', '/v1/nothing', 404, openaiForm('not_found')],
    ['of another method', 'GET', '/v1/messages', 405, anthropicForm('invalid_request_error')],
    ['of another method', 'DELETE', '/v1beta/models/m:generateContent', 405, googleForm(405)],
    ['of another method', 'GET', '/v1/chat/completions', 405, openaiForm('method_not_allowed')],
    ['of no key', 'POST', '/v1/messages', 401, anthropicForm('authentication_error')],
    ['of no key', 'POST', '/v1/models/m:generateContent', 401, googleForm(401)],
    ['of no key', 'GET', '/v1beta/models', 401, googleForm(401)],
  ])('%s is told in the dialect of the path: %s %s', async (_, method, path, status, form) => {
    const answer = await send(path, { method, headers: {} })
    expect([answer.status, answer.body]).toEqual([status, expect.objectContaining(form)])
  })

  test('has its id where the SDK of the dialect looks for it', async () => {
    const refused = await send('/v1/messages', { body: {}, headers: {} })
    vendor.behave(answerText('Hello', usage))
    const served = await send('/v1/messages', { body: { model: 'chat-model', max_tokens: 9, messages } })
    for (const { headers } of [refused, served]) expect(headers.get('request-id')).toBe(headers.get('x-request-id'))
  })
})
