import { ApiError, type Content, GoogleGenAI, type GenerateContentResponse } from '@google/genai'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked, onlyCall } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, json, startVendor, type Behaviour, type FakeVendor } from '../support/vendor.ts'

/** Nano-USD a token: 1 USD per million in, 2 USD per million out. */
const startNanos = 1_000_000_000n
const model = 'test-model'
const signature = 'CiQBAAAA/+signed/by+google=='
const usageMetadata = { promptTokenCount: 10, candidatesTokenCount: 2, thoughtsTokenCount: 1, totalTokenCount: 13 }
const wholeCost = 10n * 1_000n + 3n * 2_000n
const complete = {
  outcome: 'complete',
  counts: { input: 10, output: 2, reasoning: 1 },
  source: 'vendor',
  cost: wholeCost,
  attempts: ['fake 200'],
  account: { balance: startNanos - wholeCost, held: 0n, inFlight: 0 },
}

interface Answered {
  readonly candidates: readonly object[]
  readonly [name: string]: unknown
}

const served = { modelVersion: 'gemini-9-flash', responseId: 'r1' }
const says = (parts: readonly object[], finishReason?: string): Answered => ({
  candidates: [{ content: { role: 'model', parts }, ...(finishReason && { finishReason }), index: 0 }],
  ...served,
})
const events: readonly Answered[] = [
  { ...says([{ text: 'One ' }]), usageMetadata: { promptTokenCount: 10, totalTokenCount: 10 } },
  { ...says([{ text: 'two' }], 'STOP'), usageMetadata },
]
const body: Answered = { ...says([{ text: 'One two' }], 'STOP'), usageMetadata }

/** Google's API: the method is in the path, and a stream has CRLF between its events. */
function google(whole: object, streamed: readonly object[], isBroken = false): Behaviour {
  return (call, response) => {
    if (!call.path.includes(':stream')) return json(response, 200, whole)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const framed = streamed.map((event) => `data: ${JSON.stringify(event)}\r\n\r\n`).join('')
    if (isBroken) response.write(framed, () => response.destroy())
    else response.end(framed)
  }
}

let vendor: FakeVendor
let plain: FakeVendor
let gateway: TestGateway
let account: TestAccount
let client: GoogleGenAI

beforeAll(async () => {
  vendor = await startVendor()
  plain = await startVendor()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    adapter: 'gemini',
    vendors: `
  plain:
    adapter: openai
    base_url: ${plain.url}
    api_keys: [vendor-secret]`,
    models: `
  plain-model:
    targets: [{ vendor: plain, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await plain.close()
})
beforeEach(async () => {
  vendor.behave(google(body, events))
  plain.behave(answerText('One two', { prompt_tokens: 10, completion_tokens: 3 }))
  account = await gateway.account('1')
  client = clientOf(account.key)
})

function clientOf(apiKey: string): GoogleGenAI {
  return new GoogleGenAI({ apiKey, httpOptions: { baseUrl: gateway.url } })
}

async function read(stream: AsyncIterable<GenerateContentResponse>): Promise<GenerateContentResponse[]> {
  const all: GenerateContentResponse[] = []
  for await (const event of stream) all.push(event)
  return all
}

async function refusal(work: Promise<unknown>): Promise<{ status: number; error: Record<string, unknown> }> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    const said = JSON.parse(error.message) as { error: Record<string, unknown> }
    return { status: error.status, error: said.error }
  }
  throw new Error('nothing was refused')
}

const lastCall = (of: FakeVendor) => of.calls.at(-1)

describe('a vendor that speaks the same', () => {
  test('answers whole', async () => {
    const answer = await client.models.generateContent({ model, contents: 'Count to two' })
    expect([answer.text, answer.modelVersion, answer.usageMetadata]).toEqual(['One two', model, usageMetadata])
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toEqual(complete)
  })

  test('is asked for its own model, with its own key', async () => {
    await client.models.generateContent({ model, contents: 'Count to two' })
    const { path, headers } = lastCall(vendor) ?? {}
    expect([path, headers?.['x-goog-api-key']]).toEqual(['/models/vendor-model:generateContent', 'vendor-secret'])
  })

  test('answers as a stream, whose last event tells the cost', async () => {
    const all = await read(await client.models.generateContentStream({ model, contents: 'Count to two' }))
    expect(all.map(({ text }) => text)).toEqual(['One ', 'two'])
    expect(all.at(-1)?.usageMetadata).toEqual({ ...usageMetadata, cost: 0.000016 })
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toEqual(complete)
  })

  test('gets its signatures back byte for byte over three turns', async () => {
    const call = (turn: number) => ({
      functionCall: { name: 'find', args: { turn } },
      thoughtSignature: `${signature.slice(0, -3)}${turn}==`,
    })
    const contents: Content[] = [{ role: 'user', parts: [{ text: 'Find it' }] }]
    for (const turn of [1, 2, 3]) {
      vendor.behave(google({ ...says([call(turn)], 'STOP'), usageMetadata }, []))
      const answer = await client.models.generateContent({ model, contents })
      const said = answer.candidates?.[0]?.content
      if (!said) throw new Error('no content')
      contents.push(said, { role: 'user', parts: [{ functionResponse: { name: 'find', response: { output: 'no' } } }] })
    }
    await client.models.generateContent({ model, contents })
    const sent = (lastCall(vendor)?.body['contents'] ?? []) as readonly Content[]
    expect(sent.filter(({ role }) => role === 'model').map(({ parts }) => parts)).toEqual([
      [call(1)],
      [call(2)],
      [call(3)],
    ])
  })

  test('that breaks off makes the stream throw', async () => {
    vendor.behave(google(body, events.slice(0, 1), true))
    const asked = client.models.generateContentStream({ model, contents: 'Count to two' }).then(read)
    await expect(asked).rejects.toThrow('UNAVAILABLE')
  })

  test('counts a prompt, for nothing', async () => {
    vendor.behave((_, response) => json(response, 200, { totalTokens: 7 }))
    const { totalTokens } = await client.models.countTokens({ model, contents: 'Count to two' })
    expect(totalTokens).toBe(7)
    expect(await gateway.get('/v1/credits', account.key)).toMatchObject({ balance: '1' })
  })
})

describe('a vendor that speaks another dialect', () => {
  test('answers whole', async () => {
    const answer = await client.models.generateContent({
      model: 'plain-model',
      contents: 'Count to two',
      config: { systemInstruction: 'Be brief', maxOutputTokens: 20, temperature: 0.5 },
    })
    expect([answer.text, answer.modelVersion, answer.candidates?.[0]?.finishReason]).toEqual([
      'One two',
      'plain-model',
      'STOP',
    ])
    expect(answer.usageMetadata).toEqual({ promptTokenCount: 10, candidatesTokenCount: 3, totalTokenCount: 13 })
    expect(lastCall(plain)?.body).toMatchObject({
      model: 'vendor-model',
      messages: [
        { role: 'system', content: 'Be brief' },
        { role: 'user', content: 'Count to two' },
      ],
      max_completion_tokens: 20,
      temperature: 0.5,
    })
  })

  test('answers as a stream', async () => {
    const stream = await client.models.generateContentStream({ model: 'plain-model', contents: 'Count to two' })
    const all = await read(stream)
    expect(all.map(({ text }) => text ?? '').join('')).toBe('One two')
    expect(all.at(-1)?.candidates?.[0]?.finishReason).toBe('STOP')
    expect(all.at(-1)?.usageMetadata).toMatchObject({ promptTokenCount: 10, totalTokenCount: 13, cost: 0.000016 })
  })

  test('calls functions', async () => {
    const called = { id: 'call_1', type: 'function', function: { name: 'find', arguments: '{"what":"key"}' } }
    const message = { role: 'assistant', content: null, tool_calls: [called] }
    plain.behave((_, response) =>
      json(response, 200, {
        id: 'chatcmpl-1',
        object: 'chat.completion',
        created: 1,
        model: 'm',
        choices: [{ index: 0, message, finish_reason: 'tool_calls' }],
        usage: { prompt_tokens: 1, completion_tokens: 1 },
      }),
    )
    const parameters = { type: 'OBJECT', properties: { what: { type: 'STRING' } } } as object
    const { functionCalls } = await client.models.generateContent({
      model: 'plain-model',
      contents: 'Find the key',
      config: { tools: [{ functionDeclarations: [{ name: 'find', parameters }] }] },
    })
    expect(functionCalls).toEqual([{ id: 'call_1', name: 'find', args: { what: 'key' } }])
    expect(lastCall(plain)?.body['tools']).toEqual([
      {
        type: 'function',
        function: { name: 'find', parameters: { type: 'object', properties: { what: { type: 'string' } } } },
      },
    ])
  })
})

describe('a caller of chat', () => {
  const openai = () => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key, maxRetries: 0 })

  test('gets an answer of Gemini as a completion', async () => {
    const answer = await openai().chat.completions.create({ model, messages: [{ role: 'user', content: 'Count' }] })
    expect(answer.choices[0]).toMatchObject({ message: { content: 'One two' }, finish_reason: 'stop' })
    expect(answer.usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 })
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toEqual(complete)
  })

  test('gets a stream of Gemini as chunks', async () => {
    const runner = openai().chat.completions.stream({ model, messages: [{ role: 'user', content: 'Count' }] })
    const { choices } = await runner.finalChatCompletion()
    expect(choices[0]).toMatchObject({ message: { content: 'One two' }, finish_reason: 'stop' })
  })

  test('keeps the signatures of Gemini through a turn of tools', async () => {
    const part = { functionCall: { name: 'find', args: { what: 'key' } }, thoughtSignature: signature }
    vendor.behave(google({ ...says([part], 'STOP'), usageMetadata }, []))
    const asked = { role: 'user' as const, content: 'Find the key' }
    const first = await openai().chat.completions.create({ model, messages: [asked] })
    const said = first.choices[0]?.message
    if (!said) throw new Error('no message')
    const result = { role: 'tool' as const, tool_call_id: said.tool_calls?.[0]?.id ?? '', content: 'here' }
    await openai().chat.completions.create({ model, messages: [asked, said, result] })
    expect(lastCall(vendor)?.body['contents']).toEqual([
      { role: 'user', parts: [{ text: 'Find the key' }] },
      { role: 'model', parts: [part] },
      { role: 'user', parts: [{ functionResponse: { name: 'find', response: { output: 'here' } } }] },
    ])
  })
})

describe('a refusal', () => {
  test('of a key comes as the SDK knows it', async () => {
    const { status, error } = await refusal(clientOf('sk-wrong').models.generateContent({ model, contents: 'Hi' }))
    expect([status, error['code'], error['status']]).toEqual([401, 401, 'UNAUTHENTICATED'])
  })

  test('of a model comes as the SDK knows it', async () => {
    const { status, error } = await refusal(client.models.generateContent({ model: 'none', contents: 'Hi' }))
    expect([status, error['status']]).toEqual([404, 'NOT_FOUND'])
  })

  test('of a parameter names it', async () => {
    const work = client.models.generateContent({ model, contents: 'Hi', config: { maxOutputTokens: -1 } })
    const { status, error } = await refusal(work)
    expect([status, error['status']]).toEqual([400, 'INVALID_ARGUMENT'])
    expect(JSON.stringify(error['details'])).toContain('"field":"maxOutputTokens"')
  })
})

describe('plain HTTP', () => {
  const ask = (query: string, name = model) =>
    fetch(`${gateway.url}/v1beta/models/${name}:streamGenerateContent?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ contents: [{ parts: [{ text: 'Count' }] }] }),
    })

  test.each([model, 'plain-model'])('without alt=sse streams one array from %s', async (name) => {
    const answer = await ask(`key=${account.key}`, name)
    expect(answer.headers.get('content-type')).toContain('application/json')
    const all = (await answer.json()) as readonly { candidates: readonly { content: Content }[] }[]
    expect(all.map(({ candidates }) => candidates[0]?.content.parts?.[0]?.text ?? '').join('')).toBe('One two')
  })

  test('with alt=sse streams events', async () => {
    const answer = await ask(`alt=sse&key=${account.key}`)
    expect(answer.headers.get('content-type')).toContain('text/event-stream')
    const lines = (await answer.text()).split('\n').filter((line) => line !== '')
    expect(lines.map((line) => line.slice(0, 7))).toEqual(['data: {', 'data: {'])
  })
})
