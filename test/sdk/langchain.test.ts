import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, streamText } from 'ai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { booked, onlyCall } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, type FakeVendor, json, openStream, startVendor } from '../support/vendor.ts'

/** Nano-USD of 7 tokens in and 3 out, at 1 and 2 USD a million. */
const cost = 13_000n
const usage = { prompt_tokens: 7, completion_tokens: 3 }
const text = 'One two three'

let vendor: FakeVendor
let gateway: TestGateway

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

const payer = () => gateway.account('10')
const langchain = ({ key }: TestAccount, streaming = false) =>
  new ChatOpenAI({
    model: 'test-model',
    apiKey: key,
    streaming,
    maxRetries: 0,
    configuration: { baseURL: `${gateway.url}/v1` },
  })

async function charged(account: TestAccount): Promise<bigint> {
  return (await booked(gateway, account, await onlyCall(gateway, account.key))).cost
}

describe('LangChain', () => {
  test('gets an answer with its usage, and is charged for it', async () => {
    vendor.behave(answerText(text, usage))
    const account = await payer()
    const answer = await langchain(account).invoke('Count to three.')
    expect(answer.content).toBe(text)
    expect(answer.usage_metadata).toMatchObject({ input_tokens: 7, output_tokens: 3 })
    expect(await charged(account)).toBe(cost)
  })

  test('gets a stream', async () => {
    vendor.behave(answerText(text, usage))
    const account = await payer()
    let heard = ''
    for await (const chunk of await langchain(account, true).stream('Count to three.')) heard += String(chunk.content)
    expect(heard).toBe(text)
    expect(await charged(account)).toBe(cost)
  })

  test('calls tools', async () => {
    const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } }
    const choice = {
      index: 0,
      message: { role: 'assistant', content: null, tool_calls: [call] },
      finish_reason: 'tool_calls',
    }
    vendor.behave((asked, response) => {
      if (asked.body['stream'] !== true)
        return json(response, 200, {
          id: 'c',
          object: 'chat.completion',
          created: 1,
          model: 'x',
          choices: [choice],
          usage,
        })
      openStream(response)
      const delta = { role: 'assistant', tool_calls: [{ ...call, index: 0 }] }
      const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'x' }
      response.write(
        `data: ${JSON.stringify({ ...chunk, choices: [{ index: 0, delta, finish_reason: 'tool_calls' }] })}\n\n`,
      )
      response.end(`data: ${JSON.stringify({ ...chunk, choices: [], usage })}\n\ndata: [DONE]\n\n`)
    })
    const weather = tool(({ city }) => `Sunny in ${city}`, {
      name: 'weather',
      description: 'The weather of a city.',
      schema: z.object({ city: z.string() }),
    })
    const { tool_calls: calls } = await langchain(await payer())
      .bindTools([weather])
      .invoke('How is Paris?')
    expect(calls?.map(({ name, args }) => ({ name, args }))).toEqual([{ name: 'weather', args: { city: 'Paris' } }])
  })

  test('hears of a wrong key as its own error', async () => {
    const wrong = langchain({ ...(await payer()), key: 'sk-tg-of-nobody' })
    await expect(wrong.invoke('Hello')).rejects.toMatchObject({ status: 401 })
  })
})

describe("the AI SDK's provider for compatible servers", () => {
  const model = ({ key }: TestAccount) =>
    createOpenAICompatible({ name: 'gateway', baseURL: `${gateway.url}/v1`, apiKey: key, includeUsage: true })(
      'test-model',
    )

  test('gets an answer, and is charged for it', async () => {
    vendor.behave(answerText(text, usage))
    const account = await payer()
    const answer = await generateText({ model: model(account), prompt: 'Count to three.' })
    expect([answer.text, answer.usage.outputTokens]).toEqual([text, 3])
    expect(await charged(account)).toBe(cost)
  })

  test('gets a stream with its usage', async () => {
    vendor.behave(answerText(text, usage))
    const account = await payer()
    const stream = streamText({ model: model(account), prompt: 'Count to three.' })
    let heard = ''
    for await (const part of stream.textStream) heard += part
    expect([heard, (await stream.usage).outputTokens]).toEqual([text, 3])
    expect(await charged(account)).toBe(cost)
  })
})
