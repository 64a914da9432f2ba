import { createOpenAI } from '@ai-sdk/openai'
import { Agent, OpenAIProvider, Runner, tool as agentTool } from '@openai/agents'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'
import { readFileSync } from 'node:fs'
import OpenAI, { APIError } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { inTurn, stream } from '../support/behaviours.ts'
import { booked, onlyCall } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import {
  answerText,
  type Behaviour,
  eventsOf,
  type FakeVendor,
  json,
  openStream,
  startVendor,
} from '../support/vendor.ts'

/** Nano-USD a token: 1 USD per million in, 2 USD per million out. */
const [inputNanos, outputNanos] = [1_000n, 2_000n]

const own = (name: string) => readFileSync(new URL(`../fixtures/responses/${name}.sse`, import.meta.url), 'utf8')
const recorded = own('thought-search-tools')
const whole = (JSON.parse(recorded.slice(recorded.lastIndexOf('data: ') + 6)) as { response: Record<string, unknown> })
  .response
/** Reading from a cache and writing to it have no prices here, so they cost what other input does. */
const wholeCost = 100n * inputNanos + 40n * outputNanos

const answer: Behaviour = (call, response) => {
  if (call.body['stream'] !== true) return json(response, 200, whole)
  openStream(response)
  response.end(recorded)
}

const text = 'One two three'
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const textCost = 10n * inputNanos + 3n * outputNanos
const called = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'x',
  choices: [
    {
      index: 0,
      delta: {
        role: 'assistant',
        reasoning_content: 'Look it up.',
        tool_calls: [
          { index: 0, id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } },
        ],
      },
      finish_reason: 'tool_calls',
    },
  ],
})
const spoken = called.replace('"reasoning_content"', '"content":"I look.","reasoning_content"')
const count = JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [], usage })
const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } as const

let theirs: FakeVendor
let others: FakeVendor
let gateway: TestGateway
let account: TestAccount
let client: OpenAI

beforeAll(async () => {
  theirs = await startVendor(answer)
  others = await startVendor()
  gateway = await startGateway({
    vendorUrl: others.url,
    vendors: `
  native:
    adapter: openai
    base_url: ${theirs.url}/v1
    api_keys: [native-secret]
  only:
    adapter: openai-responses
    base_url: ${theirs.url}/v1
    api_keys: [native-secret]
  plain:
    adapter: openai-compatible
    base_url: ${others.url}/v1
    api_keys: [plain-secret]`,
    models: `
  native-model:
    targets: [{ vendor: native, model: gpt-5 }]
    prices: { input: 1, output: 2 }
  only-model:
    targets: [{ vendor: only, model: gpt-5-pro }]
    prices: { input: 1, output: 2 }
  plain-model:
    targets: [{ vendor: plain, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
  })
})
afterAll(async () => {
  await gateway.close()
  await theirs.close()
  await others.close()
})
beforeEach(async () => {
  theirs.behave(answer)
  others.behave(answerText(text, usage))
  theirs.calls.length = 0
  others.calls.length = 0
  account = await gateway.account('1')
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key, maxRetries: 0 })
})

async function refusal(work: Promise<unknown>): Promise<APIError> {
  try {
    await work
  } catch (error) {
    if (error instanceof APIError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('a vendor of responses', () => {
  test('answers as it does, under the name that was asked for', async () => {
    const { data, response } = await client.responses
      .create({ model: 'native-model', input: 'Which?', previous_response_id: 'resp_0' })
      .withResponse()
    const { output_text: spoken, ...body } = data as unknown as Record<string, unknown>
    expect({ ...body, _request_id: undefined }).toEqual({ ...whole, model: 'native-model', _request_id: undefined })
    expect([spoken, response.headers.get('x-tollgate-cost')]).toEqual(['I will look.', '0.00018'])
    expect(theirs.calls.map(({ path, body: sent }) => [path, sent])).toEqual([
      ['/v1/responses', { model: 'gpt-5', input: 'Which?', previous_response_id: 'resp_0' }],
    ])
    expect((await booked(gateway, account, response.headers.get('x-request-id'))).cost).toBe(wholeCost)
  })

  test('streams event by event, tells the cost at the end, and is charged once', async () => {
    const streaming = client.responses.stream({ model: 'native-model', input: 'Which?' })
    const final = await streaming.finalResponse()
    expect([final.model, final.output_text, final.usage]).toEqual([
      'native-model',
      'I will look.',
      { ...(whole['usage'] as object), cost: 0.00018 },
    ])
    const { outcome, source, counts, cost } = await booked(gateway, account, await onlyCall(gateway, account.key))
    expect({ outcome, source, counts, cost }).toEqual({
      outcome: 'complete',
      source: 'vendor',
      counts: { input: 30, cached_input: 60, cache_write_5m: 10, output: 25, reasoning: 15, search: 1 },
      cost: wholeCost,
    })
  })

  test('that answers a stream with one body is told as a stream', async () => {
    theirs.behave((_, response) => json(response, 200, whole))
    const final = await client.responses.stream({ model: 'native-model', input: 'Which?' }).finalResponse()
    const types = final.output.map(({ type }) => type)
    expect(types).toEqual(['reasoning', 'web_search_call', 'message', 'function_call', 'function_call'])
    expect([final.output_text, final.usage?.output_tokens]).toEqual(['I will look.', 40])
  })

  test('that breaks off fails the response that it began', async () => {
    theirs.behave((_, response) => {
      openStream(response)
      response.end(own('error-midway'))
    })
    const events: unknown[] = []
    const error = await refusal(
      (async () => {
        const streaming = await client.responses.create({ model: 'native-model', input: 'Hi', stream: true })
        for await (const event of streaming) events.push(event.type)
      })(),
    )
    expect([events.at(-1), error.code]).toEqual(['response.output_text.delta', 'vendor_error'])
  })

  test('serves callers of chat completions with models that answer nowhere else', async () => {
    const made = await client.chat.completions.create({
      model: 'only-model',
      messages: [{ role: 'user', content: 'Which?' }],
    })
    const { message, finish_reason: finish } = made.choices[0]!
    expect([message.content, message.tool_calls?.length, finish, made.usage?.prompt_tokens]).toEqual([
      'I will look.',
      2,
      'tool_calls',
      100,
    ])
    expect(theirs.calls[0]).toMatchObject({
      path: '/v1/responses',
      body: { model: 'gpt-5-pro', input: [{ role: 'user', content: 'Which?' }], store: false },
    })
  })
})

describe('a vendor of chat completions', () => {
  test('answers with a response', async () => {
    const { data, response } = await client.responses
      .create({ model: 'plain-model', input: 'Hi', instructions: 'Be brief.' })
      .withResponse()
    expect([data.status, data.model, data.output_text, data.usage?.total_tokens]).toEqual([
      'completed',
      'plain-model',
      text,
      13,
    ])
    expect(others.calls[0]?.body['messages']).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
    ])
    expect((await booked(gateway, account, response.headers.get('x-request-id'))).cost).toBe(textCost)
  })

  test('streams one', async () => {
    const final = await client.responses.stream({ model: 'plain-model', input: 'Hi' }).finalResponse()
    expect([final.output_text, final.usage]).toEqual([
      text,
      {
        input_tokens: 10,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: 3,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 13,
        cost: 0.000016,
      },
    ])
  })

  test('cannot go on with what another one keeps, and says so by name', async () => {
    const asked = { model: 'plain-model', input: 'Hi' }
    const errors = [
      await refusal(client.responses.create({ ...asked, previous_response_id: 'resp_0' })),
      await refusal(client.responses.create({ ...asked, tools: [{ type: 'web_search' }] })),
      await refusal(client.responses.create({ ...asked, background: true })),
    ]
    expect(errors.map(({ status, code, param }) => [status, code, param])).toEqual([
      [400, 'invalid_value', 'previous_response_id'],
      [400, 'invalid_value', 'tools[0].type'],
      [400, 'invalid_value', 'background'],
    ])
    expect(others.calls).toEqual([])
  })
})

describe('frameworks', () => {
  const events = eventsOf(text, usage)

  // By default it refers to earlier items, of which the thoughts alone can be left out.
  const asks = [
    ['nothing else is said', called, {}],
    ['it is told that nothing is kept', spoken, { openai: { store: false } }],
  ] as const
  test.each(asks)('the AI SDK runs a tool and answers where %s', async (_, first, providerOptions) => {
    others.behave(inTurn(stream([first, count, '[DONE]']), stream([...events, '[DONE]'])))
    const ai = createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key })
    const streaming = streamText({
      model: ai('plain-model'),
      prompt: 'Which?',
      tools: { weather: tool({ inputSchema: jsonSchema<{ city: string }>(schema), execute: ({ city }) => city }) },
      stopWhen: stepCountIs(3),
      providerOptions,
      maxRetries: 0,
    })
    expect(await streaming.text).toBe(text)
    expect(others.calls.at(-1)?.body['messages']).toMatchObject([
      { role: 'user' },
      {
        role: 'assistant',
        content: first === spoken ? 'I look.' : null,
        tool_calls: [{ id: 'call_1', function: { name: 'weather' } }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'Paris' },
    ])
  })

  test('the AI SDK tells what went wrong', async () => {
    const ai = createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key })
    const failing = generateText({ model: ai('no-model'), prompt: 'Hi', maxRetries: 0 })
    await expect(failing).rejects.toThrow('no-model')
  })

  test.each([false, true])('agents run a tool and answer, streamed: %s', async (isStream) => {
    const completion = (message: object, finish: string) => ({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 1,
      model: 'x',
      choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finish }],
      usage: { ...usage, total_tokens: 13 },
    })
    const calls = [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } }]
    others.behave(
      isStream
        ? inTurn(stream([called, count, '[DONE]']), stream([...events, '[DONE]']))
        : inTurn(
            (_, response) => json(response, 200, completion({ content: null, tool_calls: calls }, 'tool_calls')),
            (_, response) => json(response, 200, completion({ content: text }, 'stop')),
          ),
    )
    const runner = new Runner({
      modelProvider: new OpenAIProvider({ openAIClient: client, useResponses: true }),
      tracingDisabled: true,
    })
    const weather = agentTool({
      name: 'weather',
      description: 'Weather of a city',
      parameters: {
        ...schema,
        properties: { city: { type: 'string' } },
        additionalProperties: false,
        required: ['city'],
      },
      strict: true,
      execute: () => 'rain',
    })
    const agent = new Agent({ name: 'a', model: 'plain-model', tools: [weather] })
    const finalOutput = isStream ? await streamed(runner, agent) : (await runner.run(agent, 'Which?')).finalOutput
    expect(finalOutput).toBe(text)
    expect(others.calls.at(-1)?.body['messages']).toMatchObject([
      { role: 'user' },
      { role: 'assistant', tool_calls: [{ id: 'call_1' }] },
      { role: 'tool', tool_call_id: 'call_1', content: 'rain' },
    ])
  })
})

async function streamed(runner: Runner, agent: Agent): Promise<unknown> {
  const result = await runner.run(agent, 'Which?', { stream: true })
  await result.completed
  return result.finalOutput
}

describe('completions of a prompt', () => {
  test('are answered by a vendor of conversations', async () => {
    const made = await client.completions.create({ model: 'plain-model', prompt: 'Say: ', echo: true })
    expect([made.object, made.choices, made.usage?.total_tokens]).toEqual([
      'text_completion',
      [{ text: `Say: ${text}`, index: 0, logprobs: null, finish_reason: 'stop' }],
      13,
    ])
  })

  test('stream, with usage where it was asked for', async () => {
    const asked = {
      model: 'plain-model',
      prompt: 'Say',
      stream: true as const,
      stream_options: { include_usage: true },
    }
    const chunks = []
    for await (const chunk of await client.completions.create(asked)) chunks.push(chunk)
    expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(text)
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 10, cost: 0.000016 } })
  })

  test('of several prompts are refused by name', async () => {
    const error = await refusal(client.completions.create({ model: 'plain-model', prompt: ['a', 'b'] }))
    expect([error.status, error.param]).toEqual([400, 'prompt'])
  })
})
