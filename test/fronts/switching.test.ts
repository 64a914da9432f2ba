import { describe, expect, test } from 'vitest'
import type { Dialect, Json, JsonObject } from '../../src/core/call.ts'
import { isObject, objectsOf, stringOf } from '../../src/core/wire.ts'
import { fronts } from '../../src/fronts/index.ts'
import { vendors } from '../../src/vendors/index.ts'

/**
 * A conversation that goes on: one vendor thinks and calls a tool, and the caller gives all of it back with the tool's
 * answer. The same vendor gets its own thoughts back byte for byte; for any other they are taken out, because it would
 * refuse the request for them.
 */

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 1 }
const args = { city: 'Paris' }
const rain = 'It rains.'

/** A vendor's whole answer: it has thought, in words that carry seals of its own, and calls a tool. */
interface Answering {
  readonly adapter: string
  readonly model: string
  readonly body: JsonObject
  /** What must come back as it was, and what must reach nobody else. */
  readonly seals: readonly string[]
  /** Vendors with the same number read each other's thoughts. */
  readonly family: number
}

const chatCall = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: JSON.stringify(args) } }
const chatAnswer = (more: JsonObject): JsonObject => ({
  id: 'c1',
  object: 'chat.completion',
  created: 1,
  model: 'x',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'I look.', tool_calls: [chatCall], ...more },
      finish_reason: 'tool_calls',
    },
  ],
  usage: { prompt_tokens: 10, completion_tokens: 5 },
})

const claudeAnswer = (signature: string, data: string): JsonObject => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'x',
  content: [
    { type: 'thinking', thinking: 'Look it up.', signature },
    { type: 'redacted_thinking', data },
    { type: 'text', text: 'I look.' },
    { type: 'tool_use', id: 'toolu_1', name: 'weather', input: args },
  ],
  stop_reason: 'tool_use',
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 5 },
})

const responseAnswer = (sealed: string): JsonObject => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'completed',
  model: 'x',
  output: [
    {
      type: 'reasoning',
      id: 'rs_1',
      summary: [{ type: 'summary_text', text: 'Look it up.' }],
      encrypted_content: sealed,
    },
    {
      type: 'message',
      id: 'msg_1',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'I look.', annotations: [] }],
    },
    {
      type: 'function_call',
      id: 'fc_1',
      call_id: 'call_1',
      name: 'weather',
      arguments: JSON.stringify(args),
      status: 'completed',
    },
  ],
  usage: { input_tokens: 10, output_tokens: 5, total_tokens: 15 },
})

const claude: Answering = {
  adapter: 'anthropic',
  model: 'claude-sonnet-4-5',
  body: claudeAnswer('EqQBsigned+by/claude==', 'ErABhidden+by/claude=='),
  seals: ['EqQBsigned+by/claude==', 'ErABhidden+by/claude=='],
  family: 1,
}
const google: Answering = {
  adapter: 'gemini',
  model: 'gemini-3-pro',
  body: {
    candidates: [
      {
        index: 0,
        finishReason: 'STOP',
        content: {
          role: 'model',
          parts: [
            { text: 'Look it up.', thought: true },
            { text: 'I look.' },
            { functionCall: { name: 'weather', args }, thoughtSignature: 'CiQBsigned+by/google==' },
          ],
        },
      },
    ],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 },
  },
  seals: ['CiQBsigned+by/google=='],
  family: 2,
}
const sealedBy = (adapter: string, sealed: string, family: number): Answering => ({
  adapter,
  model: 'gpt-5',
  body: responseAnswer(sealed),
  seals: [sealed],
  family,
})
const openai = sealedBy('openai-responses', 'gAAAAABsealed_by-openai==', 3)
const xai = sealedBy('xai', 'zQ1vsealed+by/xai', 4)
const mantle = sealedBy('bedrock-mantle', 'rsn_sealed-by-mantle', 5)
const deepseekResponses = sealedBy('deepseek', '15473b38-ad91-4b00-8000-000000000000', 6)
const plain: Answering = {
  adapter: 'groq',
  model: 'plain',
  body: chatAnswer({ reasoning_content: 'Look it up.' }),
  seals: [],
  family: 0,
}
const converse: Answering = {
  adapter: 'bedrock',
  model: 'anthropic.claude-sonnet-4-5',
  body: {
    output: {
      message: {
        role: 'assistant',
        content: [
          { reasoningContent: { reasoningText: { text: 'Look it up.', signature: 'EqQBsigned+by/converse==' } } },
          { text: 'I look.' },
          { toolUse: { toolUseId: 'toolu_1', name: 'weather', input: args } },
        ],
      },
    },
    stopReason: 'tool_use',
    usage: { inputTokens: 10, outputTokens: 5, totalTokens: 15 },
  },
  seals: ['EqQBsigned+by/converse=='],
  family: 1,
}

/** What a caller of a dialect asks first, and how he goes on with what he was answered. */
interface Caller {
  readonly dialect: Dialect
  readonly first: JsonObject
  next(answer: JsonObject): JsonObject
}

const schema = { type: 'object', properties: { city: { type: 'string' } } }
const question = 'How is Paris?'
const callers: readonly Caller[] = [
  {
    dialect: 'chat',
    first: {
      model: 'm',
      messages: [{ role: 'user', content: question }],
      tools: [{ type: 'function', function: { name: 'weather', parameters: schema } }],
    },
    next(answer) {
      const message = objectsOf(answer['choices'])[0]?.['message']
      const [call] = isObject(message) ? objectsOf(message['tool_calls']) : []
      const result = { role: 'tool', tool_call_id: stringOf(call?.['id']), content: rain }
      return { ...this.first, messages: [...objectsOf(this.first['messages']), message ?? null, result] }
    },
  },
  {
    dialect: 'messages',
    first: {
      model: 'm',
      max_tokens: 4_000,
      thinking: { type: 'enabled', budget_tokens: 2_000 },
      messages: [{ role: 'user', content: question }],
      tools: [{ name: 'weather', input_schema: schema }],
    },
    next({ content = null }) {
      const id = stringOf(objectsOf(content).find(({ type }) => type === 'tool_use')?.['id'])
      const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: rain }] }
      return { ...this.first, messages: [...objectsOf(this.first['messages']), { role: 'assistant', content }, result] }
    },
  },
  {
    dialect: 'responses',
    first: {
      model: 'm',
      input: [{ role: 'user', content: question }],
      store: false,
      include: ['reasoning.encrypted_content'],
      tools: [{ type: 'function', name: 'weather', parameters: schema, strict: false }],
    },
    next({ output }) {
      const items = objectsOf(output)
      const id = stringOf(items.find(({ type }) => type === 'function_call')?.['call_id'])
      const result = { type: 'function_call_output', call_id: id, output: rain }
      return { ...this.first, input: [...objectsOf(this.first['input']), ...items, result] }
    },
  },
  {
    dialect: 'generate',
    first: {
      contents: [{ role: 'user', parts: [{ text: question }] }],
      generationConfig: { thinkingConfig: { includeThoughts: true } },
      tools: [{ functionDeclarations: [{ name: 'weather', parametersJsonSchema: schema }] }],
    },
    next({ candidates }) {
      const content = objectsOf(candidates)[0]?.['content']
      const result = { functionResponse: { name: 'weather', response: { output: rain } } }
      const turns = [...objectsOf(this.first['contents']), content ?? null, { role: 'user', parts: [result] }]
      return { ...this.first, contents: turns }
    },
  },
]

function read({ dialect }: Caller, body: JsonObject) {
  const front = fronts.find((one) => one.dialect === dialect)
  if (!front) throw new Error(`there is no front for ${dialect}`)
  const path = dialect === 'generate' ? '/v1beta/models/m:generateContent' : ''
  const parts = { id: 'id-1', startedAtMs: 0, path, header: () => undefined, query: () => undefined }
  return { front, call: front.read(encoder.encode(JSON.stringify(body)), parts) }
}

/** What the caller is answered, as his client gives it to him. */
function answered(caller: Caller, { adapter, body }: Answering): JsonObject {
  const { front, call } = read(caller, caller.first)
  const vendor = vendors.get(adapter)!
  const translates = !vendor.speaks.includes(call.dialect)
  if (!translates)
    return JSON.parse(
      decoder.decode(front.passing(call).body(encoder.encode(JSON.stringify(body)), true)),
    ) as JsonObject
  const { inner = body } = vendor.reply(body, { call, translates })
  return JSON.parse(JSON.stringify(front.reply(call, { ...inner, model: 'm' }))) as JsonObject
}

/** What the next vendor is sent. */
function sent(caller: Caller, answer: JsonObject, { adapter, model }: Answering): string {
  const { call } = read(caller, caller.next(answer))
  return decoder.decode(vendors.get(adapter)!.request(call, { vendor: adapter, model }, access, false).body)
}

/** All texts of a request, those too that hide in base64. */
function textsIn(value: Json | undefined): string {
  if (Array.isArray(value)) return (value as readonly Json[]).map(textsIn).join('\n')
  if (isObject(value)) return Object.values(value).map(textsIn).join('\n')
  return typeof value === 'string' ? `${value}\n${Buffer.from(value, 'base64').toString('latin1')}` : ''
}

/** Those whose seals a caller of this dialect can get at all: a vendor that does not speak it answers chat completions. */
function speakers({ dialect }: Caller): readonly Answering[] {
  const inResponses = [xai, mantle, deepseekResponses]
  return [claude, google, openai, plain, converse, ...(dialect === 'responses' ? inResponses : [])]
}

const pairs = callers.flatMap((caller) =>
  speakers(caller).flatMap((from) =>
    speakers(caller).map((to) => ({
      dialect: caller.dialect,
      from: from.adapter,
      to: to.adapter,
      caller,
      pair: [from, to] as const,
    })),
  ),
)

describe.each(pairs)('a caller of $dialect who goes from $from to $to', ({ caller, pair: [from, to] }) => {
  const text = sent(caller, answered(caller, from), to)
  const all = textsIn(JSON.parse(text) as Json)

  // A caller of Google's words whose conversation shows no sign of another vendor has his bytes passed as they are.
  if (to === google && !(caller.dialect === 'generate' && from.seals.length === 0))
    test('has a signature at its call, without which Google refuses it', () => {
      const signature = from === google ? from.seals[0] : 'skip_thought_signature_validator'
      const { contents } = JSON.parse(text) as { contents: { parts: JsonObject[] }[] }
      const calls = contents.flatMap(({ parts }) => parts).filter(({ functionCall }) => functionCall !== undefined)
      expect(calls.map(({ thoughtSignature }) => thoughtSignature)).toEqual([signature])
    })

  test('goes on with the call and its answer', () => {
    expect([all.includes('weather'), all.includes(rain), all.includes('I look.')]).toEqual([true, true, true])
  })

  if (from.family === to.family)
    test('brings its thoughts along, byte for byte', () => {
      expect(from.seals.filter((seal) => !text.includes(JSON.stringify(seal)))).toEqual([])
    })
  else
    test('leaves behind what only the first can read', () => {
      expect([...from.seals, 'tollgate:'].filter((seal) => all.includes(seal))).toEqual([])
    })
})
