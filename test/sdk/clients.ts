import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { GoogleGenAI, type Part } from '@google/genai'
import { type AIMessageChunk, HumanMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { Agent, OpenAIProvider, Runner, tool as agentTool, user } from '@openai/agents'
import { generateText, jsonSchema, type LanguageModel, Output, streamText, tool } from 'ai'
import OpenAI from 'openai'
import { z } from 'zod'

/** The official clients of every dialect, each asked for the same things in its own words. */

const question = 'How is Paris?'
/** One red pixel. */
export const picture =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
const schema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
} as const
const name = 'weather'
const description = 'The weather of a city.'

export interface Ask {
  readonly url: string
  readonly key: string
  readonly model: string
  readonly prompt?: string
  readonly signal?: AbortSignal
  /** Tries after the first; absent: none. */
  readonly retries?: number
  readonly timeoutMs?: number
  /** Hears of each piece of a streamed text. */
  readonly onText?: (piece: string) => void
}

export interface Called {
  readonly name: string
  readonly args: unknown
}

/** What one client makes of an answer. Each rejects with whatever its users get to see. */
export interface SdkClient {
  readonly name: string
  /** Where it asks: what a test of bytes needs. */
  readonly dialect: string
  plain(ask: Ask): Promise<string>
  streamed(ask: Ask): Promise<string>
  /** The call of a function, streamed. */
  tools?(ask: Ask): Promise<Called>
  /** An object of the schema. */
  structured?(ask: Ask): Promise<unknown>
  /** Asks about a picture. */
  pictured?(ask: Ask): Promise<string>
  /** The status that its error tells of a refusal. */
  status(error: unknown): unknown
}

const field =
  (named: string) =>
  (error: unknown): unknown =>
    typeof error === 'object' && error !== null ? Reflect.get(error, named) : undefined
const status = field('status')

const promptOf = ({ prompt = question }: Ask): string => prompt
const dataUrl = `data:image/png;base64,${picture}`

async function gathered(pieces: AsyncIterable<string>, { onText }: Ask): Promise<string> {
  let text = ''
  for await (const piece of pieces) {
    text += piece
    if (piece !== '') onText?.(piece)
  }
  return text
}

async function* mapped<From>(from: AsyncIterable<From>, textOf: (item: From) => string): AsyncGenerator<string> {
  for await (const item of from) yield textOf(item)
}

const openaiOf = ({ url, key, retries = 0, timeoutMs }: Ask): OpenAI =>
  new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: key,
    maxRetries: retries,
    ...(timeoutMs !== undefined && { timeout: timeoutMs }),
  })
const signalOf = ({ signal }: Ask): { signal?: AbortSignal } => (signal ? { signal } : {})

const chatTool = { type: 'function', function: { name, description, parameters: schema, strict: true } } as const

const openaiChat: SdkClient = {
  name: 'openai, chat completions',
  dialect: 'chat',
  status,
  async plain(ask) {
    const body = { model: ask.model, messages: [{ role: 'user' as const, content: promptOf(ask) }] }
    const answer = await openaiOf(ask).chat.completions.create(body, signalOf(ask))
    return answer.choices[0]?.message.content ?? ''
  },
  async streamed(ask) {
    const messages = [{ role: 'user' as const, content: promptOf(ask) }]
    const chunks = await openaiOf(ask).chat.completions.create(
      { model: ask.model, messages, stream: true },
      signalOf(ask),
    )
    return gathered(
      mapped(chunks, ({ choices }) => choices[0]?.delta.content ?? ''),
      ask,
    )
  },
  async tools(ask) {
    const messages = [{ role: 'user' as const, content: promptOf(ask) }]
    const runner = openaiOf(ask).chat.completions.stream({ model: ask.model, messages, tools: [chatTool] })
    const [call] = (await runner.finalChatCompletion()).choices[0]?.message.tool_calls ?? []
    if (call?.type !== 'function') throw new Error('no function was called')
    return { name: call.function.name, args: JSON.parse(call.function.arguments) as unknown }
  },
  async structured(ask) {
    const answer = await openaiOf(ask).chat.completions.parse({
      model: ask.model,
      messages: [{ role: 'user', content: promptOf(ask) }],
      response_format: { type: 'json_schema', json_schema: { name: 'place', schema, strict: true } },
    })
    return answer.choices[0]?.message.parsed
  },
  async pictured(ask) {
    const content = [
      { type: 'text' as const, text: promptOf(ask) },
      { type: 'image_url' as const, image_url: { url: dataUrl } },
    ]
    const answer = await openaiOf(ask).chat.completions.create({
      model: ask.model,
      messages: [{ role: 'user', content }],
    })
    return answer.choices[0]?.message.content ?? ''
  },
}

const openaiResponses: SdkClient = {
  name: 'openai, responses',
  dialect: 'responses',
  status,
  plain: async (ask) =>
    (await openaiOf(ask).responses.create({ model: ask.model, input: promptOf(ask) }, signalOf(ask))).output_text,
  async streamed(ask) {
    const events = await openaiOf(ask).responses.create(
      { model: ask.model, input: promptOf(ask), stream: true },
      signalOf(ask),
    )
    return gathered(
      mapped(events, (event) => (event.type === 'response.output_text.delta' ? event.delta : '')),
      ask,
    )
  },
  async tools(ask) {
    const tools = [{ type: 'function' as const, name, description, parameters: schema, strict: true }]
    const stream = openaiOf(ask).responses.stream({ model: ask.model, input: promptOf(ask), tools })
    const call = (await stream.finalResponse()).output.find((item) => item.type === 'function_call')
    return { name: call?.name ?? '', args: JSON.parse(call?.arguments ?? 'null') as unknown }
  },
  async structured(ask) {
    const format = { type: 'json_schema' as const, name: 'place', schema, strict: true }
    const answer = await openaiOf(ask).responses.parse({ model: ask.model, input: promptOf(ask), text: { format } })
    return answer.output_parsed
  },
  async pictured(ask) {
    const content = [
      { type: 'input_text' as const, text: promptOf(ask) },
      { type: 'input_image' as const, image_url: dataUrl, detail: 'auto' as const },
    ]
    const answer = await openaiOf(ask).responses.create({ model: ask.model, input: [{ role: 'user', content }] })
    return answer.output_text
  },
}

const openaiCompletions: SdkClient = {
  name: 'openai, completions',
  dialect: 'completions',
  status,
  async plain(ask) {
    const answer = await openaiOf(ask).completions.create({ model: ask.model, prompt: promptOf(ask) }, signalOf(ask))
    return answer.choices[0]?.text ?? ''
  },
  async streamed(ask) {
    const body = { model: ask.model, prompt: promptOf(ask), stream: true as const }
    const chunks = await openaiOf(ask).completions.create(body, signalOf(ask))
    return gathered(
      mapped(chunks, ({ choices }) => choices[0]?.text ?? ''),
      ask,
    )
  },
}

const anthropicOf = ({ url, key, retries = 0, timeoutMs }: Ask): Anthropic =>
  new Anthropic({
    baseURL: url,
    apiKey: key,
    maxRetries: retries,
    ...(timeoutMs !== undefined && { timeout: timeoutMs }),
  })
const messageBody = (ask: Ask) => ({
  model: ask.model,
  max_tokens: 100,
  messages: [{ role: 'user' as const, content: promptOf(ask) }],
})
const textIn = (content: readonly { readonly type: string }[]): string =>
  content.flatMap((block) => ('text' in block ? [String(block.text)] : [])).join('')

const anthropic: SdkClient = {
  name: '@anthropic-ai/sdk',
  dialect: 'messages',
  status,
  plain: async (ask) => textIn((await anthropicOf(ask).messages.create(messageBody(ask), signalOf(ask))).content),
  async streamed(ask) {
    const events = await anthropicOf(ask).messages.create({ ...messageBody(ask), stream: true }, signalOf(ask))
    const text = mapped(events, (event) =>
      event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : '',
    )
    return gathered(text, ask)
  },
  async tools(ask) {
    const tools = [{ name, description, input_schema: { ...schema, required: ['city'] } }]
    const answer = await anthropicOf(ask)
      .messages.stream({ ...messageBody(ask), tools })
      .finalMessage()
    const call = answer.content.find((block) => block.type === 'tool_use')
    return { name: call?.name ?? '', args: call?.input }
  },
  async structured(ask) {
    const answer = await anthropicOf(ask).messages.create({
      ...messageBody(ask),
      output_config: { format: { type: 'json_schema', schema } },
    })
    return JSON.parse(textIn(answer.content)) as unknown
  },
  async pictured(ask) {
    const content = [
      { type: 'image' as const, source: { type: 'base64' as const, media_type: 'image/png' as const, data: picture } },
      { type: 'text' as const, text: promptOf(ask) },
    ]
    const answer = await anthropicOf(ask).messages.create({
      ...messageBody(ask),
      messages: [{ role: 'user', content }],
    })
    return textIn(answer.content)
  },
}

const googleOf = ({ url, key, retries = 0, timeoutMs }: Ask): GoogleGenAI =>
  new GoogleGenAI({
    apiKey: key,
    httpOptions: {
      baseUrl: url,
      ...(timeoutMs !== undefined && { timeout: timeoutMs }),
      ...(retries > 0 && { retryOptions: { attempts: retries + 1, initialDelay: 0.01 } }),
    },
  })
const abortable = ({ signal }: Ask) => (signal ? { abortSignal: signal } : {})

const google: SdkClient = {
  name: '@google/genai',
  dialect: 'generate',
  status,
  async plain(ask) {
    const config = abortable(ask)
    return (
      (await googleOf(ask).models.generateContent({ model: ask.model, contents: promptOf(ask), config })).text ?? ''
    )
  },
  async streamed(ask) {
    const asked = { model: ask.model, contents: promptOf(ask), config: abortable(ask) }
    const chunks = await googleOf(ask).models.generateContentStream(asked)
    return gathered(
      mapped(chunks, ({ text }) => text ?? ''),
      ask,
    )
  },
  async tools(ask) {
    const tools = [{ functionDeclarations: [{ name, description, parametersJsonSchema: schema }] }]
    const stream = await googleOf(ask).models.generateContentStream({
      model: ask.model,
      contents: promptOf(ask),
      config: { tools },
    })
    const calls = []
    for await (const chunk of stream) calls.push(...(chunk.functionCalls ?? []))
    return { name: calls[0]?.name ?? '', args: calls[0]?.args }
  },
  async structured(ask) {
    const config = { responseMimeType: 'application/json', responseJsonSchema: schema }
    const answer = await googleOf(ask).models.generateContent({ model: ask.model, contents: promptOf(ask), config })
    return JSON.parse(answer.text ?? '') as unknown
  },
  async pictured(ask) {
    const contents: Part[] = [{ inlineData: { mimeType: 'image/png', data: picture } }, { text: promptOf(ask) }]
    return (await googleOf(ask).models.generateContent({ model: ask.model, contents })).text ?? ''
  },
}

/** Vercel's SDK over one of its providers. */
function aiSdk(named: string, dialect: string, modelOf: (ask: Ask) => LanguageModel): SdkClient {
  const settings = (ask: Ask) => ({
    model: modelOf(ask),
    maxRetries: ask.retries ?? 0,
    ...(ask.signal && { abortSignal: ask.signal }),
    ...(ask.timeoutMs !== undefined && { timeout: ask.timeoutMs }),
  })
  return {
    name: named,
    dialect,
    status: field('statusCode'),
    plain: async (ask) => (await generateText({ ...settings(ask), prompt: promptOf(ask) })).text,
    async streamed(ask) {
      let failure: Error | undefined
      const onError = ({ error }: { error: unknown }): void => {
        failure ??= error instanceof Error ? error : new Error(String(error))
      }
      const text = await gathered(streamText({ ...settings(ask), prompt: promptOf(ask), onError }).textStream, ask)
      if (failure) throw failure
      ask.signal?.throwIfAborted()
      return text
    },
    async tools(ask) {
      const inputSchema = jsonSchema<{ city: string }>(schema)
      const weather = tool({ description, inputSchema, execute: ({ city }) => city })
      const [call] = await streamText({ ...settings(ask), prompt: promptOf(ask), tools: { weather } }).toolCalls
      return { name: call?.toolName ?? '', args: call?.input }
    },
    async structured(ask) {
      const output = Output.object({ schema: jsonSchema<{ city: string }>(schema) })
      return (await generateText({ ...settings(ask), prompt: promptOf(ask), output })).output
    },
    async pictured(ask) {
      const content = [
        { type: 'text' as const, text: promptOf(ask) },
        { type: 'file' as const, mediaType: 'image/png', data: picture },
      ]
      return (await generateText({ ...settings(ask), messages: [{ role: 'user', content }] })).text
    },
  }
}

const langchainOf = (ask: Ask, streaming = false): ChatOpenAI =>
  new ChatOpenAI({
    model: ask.model,
    apiKey: ask.key,
    streaming,
    maxRetries: ask.retries ?? 0,
    ...(ask.timeoutMs !== undefined && { timeout: ask.timeoutMs }),
    configuration: { baseURL: `${ask.url}/v1` },
  })

const langchain: SdkClient = {
  name: '@langchain/openai',
  dialect: 'chat',
  status,
  plain: async (ask) => String((await langchainOf(ask).invoke(promptOf(ask), signalOf(ask))).content),
  async streamed(ask) {
    const chunks = await langchainOf(ask, true).stream(promptOf(ask), signalOf(ask))
    return gathered(
      mapped(chunks, ({ content }) => String(content)),
      ask,
    )
  },
  async tools(ask) {
    const weather = { type: 'function' as const, function: chatTool.function }
    let answer: AIMessageChunk | undefined
    for await (const chunk of await langchainOf(ask, true).bindTools([weather]).stream(promptOf(ask)))
      answer = answer ? answer.concat(chunk) : chunk
    return { name: answer?.tool_calls?.[0]?.name ?? '', args: answer?.tool_calls?.[0]?.args }
  },
  structured: (ask) =>
    langchainOf(ask)
      .withStructuredOutput(z.object({ city: z.string() }), { method: 'jsonSchema', name: 'place' })
      .invoke(promptOf(ask)),
  async pictured(ask) {
    const content = [
      { type: 'text' as const, text: promptOf(ask) },
      { type: 'image_url' as const, image_url: { url: dataUrl } },
    ]
    return String((await langchainOf(ask).invoke([new HumanMessage({ content })])).content)
  },
}

/** OpenAI's agents, on either of its interfaces. */
function agents(named: string, useResponses: boolean): SdkClient {
  const runnerOf = (ask: Ask): Runner =>
    new Runner({
      modelProvider: new OpenAIProvider({ openAIClient: openaiOf(ask), useResponses }),
      tracingDisabled: true,
    })
  const agentOf = (ask: Ask) => new Agent({ name: 'a', model: ask.model })
  return {
    name: named,
    dialect: useResponses ? 'responses' : 'chat',
    status,
    plain: async (ask) => String((await runnerOf(ask).run(agentOf(ask), promptOf(ask), signalOf(ask))).finalOutput),
    async streamed(ask) {
      const result = await runnerOf(ask).run(agentOf(ask), promptOf(ask), { stream: true, ...signalOf(ask) })
      const text = await gathered(result.toTextStream(), ask)
      await result.completed
      ask.signal?.throwIfAborted()
      return text
    },
    async tools(ask) {
      const made: Called[] = []
      const weather = agentTool({
        name,
        description,
        parameters: { ...schema, properties: { city: { type: 'string' } }, required: ['city'] },
        strict: true,
        execute(args: unknown) {
          made.push({ name, args })
          return 'rain'
        },
      })
      const agent = new Agent({ name: 'a', model: ask.model, tools: [weather], toolUseBehavior: 'stop_on_first_tool' })
      const result = await runnerOf(ask).run(agent, promptOf(ask), { stream: true })
      await result.completed
      const [call] = made
      if (!call) throw new Error('no function was called')
      return call
    },
    async structured(ask) {
      const agent = new Agent({ name: 'a', model: ask.model, outputType: z.object({ city: z.string() }) })
      return (await runnerOf(ask).run(agent, promptOf(ask))).finalOutput
    },
    async pictured(ask) {
      const input = [
        user([
          { type: 'input_text', text: promptOf(ask) },
          { type: 'input_image', image: dataUrl },
        ]),
      ]
      return String((await runnerOf(ask).run(agentOf(ask), input)).finalOutput)
    },
  }
}

const at = ({ url, key }: Ask) => ({ baseURL: `${url}/v1`, apiKey: key })

export const clients: readonly SdkClient[] = [
  openaiChat,
  openaiResponses,
  openaiCompletions,
  anthropic,
  google,
  aiSdk('ai, @ai-sdk/openai', 'responses', (ask) => createOpenAI(at(ask))(ask.model)),
  aiSdk('ai, @ai-sdk/openai chat', 'chat', (ask) => createOpenAI(at(ask)).chat(ask.model)),
  aiSdk('ai, @ai-sdk/openai-compatible', 'chat', (ask) =>
    createOpenAICompatible({ name: 'gateway', supportsStructuredOutputs: true, ...at(ask) })(ask.model),
  ),
  aiSdk('ai, @ai-sdk/anthropic', 'messages', (ask) => createAnthropic(at(ask))(ask.model)),
  langchain,
  agents('@openai/agents, responses', true),
  agents('@openai/agents, chat', false),
]
