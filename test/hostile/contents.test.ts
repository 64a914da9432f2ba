import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { startVendor, type FakeVendor } from '../support/vendor.ts'
import { says, wires } from '../support/wires.ts'
import { refusalIn } from './envelopes.ts'

/**
 * Odd contents of conversations, from callers of every dialect to vendors of every kind: each is answered, or refused as
 * the caller's own fault and in his own words; it is never our fault or the vendor's.
 */

const answerMs = 15_000
const usage = { prompt_tokens: 5, completion_tokens: 1 }

let vendor: FakeVendor
let elsewhere: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor()
  elsewhere = await startVendor()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: wires
      .map(({ adapter }) => `  wire-${adapter}: { adapter: ${adapter}, base_url: ${vendor.url}, api_keys: [ours] }`)
      .join('\n'),
    models: wires
      .map(
        ({ adapter }) => `
  ${adapter}:
    targets: [{ vendor: wire-${adapter}, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
      )
      .join(''),
    // What is sent here is made in the same process, which is late for it.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
  })
  account = await gateway.account('1000')
})
afterEach(async () => {
  await expect.poll(() => standing(gateway, account), { timeout: 10_000 }).toMatchObject({ held: 0n, inFlight: 0 })
  expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('polluted')
  expect(elsewhere.calls).toEqual([])
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await elsewhere.close()
})

type Fields = Readonly<Record<string, unknown>>
const range = <Item>(length: number, of: (at: number) => Item): Item[] => Array.from({ length }, (_, at) => of(at))

/** Schemas of tools and of answers: each is a legal JSON, and few are legal schemas. */
const schemas: readonly (readonly [name: string, schema: () => unknown])[] = [
  ['a number', () => 5],
  ['a list', () => []],
  ['one that refers to itself', () => ({ type: 'object', properties: { a: { $ref: '#' } } })],
  [
    'a circle of references',
    () => ({ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }),
  ],
  ['a reference to nowhere', () => ({ $ref: 'https://evil.test/schema.json' })],
  [
    'one that grows with each reference',
    () => ({
      $ref: '#/$defs/d0',
      $defs: Object.fromEntries(
        range(25, (at) => [`d${at}`, { anyOf: [{ $ref: `#/$defs/d${at + 1}` }, { $ref: `#/$defs/d${at + 1}` }] }]),
      ),
    }),
  ],
  [
    'one 50 deep',
    () =>
      range(20, (at) => at).reduce<unknown>((inner) => ({ type: 'object', properties: { a: inner } }), {
        type: 'string',
      }),
  ],
  [
    'one that no vendor knows',
    () => ({
      type: ['object', 'null', 'nonsense'],
      properties: { additionalProperties: { const: 1 }, $ref: { type: 'string' }, __proto__: { enum: [] } },
      patternProperties: { '(': {} },
      uniqueItems: 'x',
      required: 'x',
      if: {},
      not: [],
      minimum: 'x',
    }),
  ],
  [
    'one of 200 kB',
    () => ({
      type: 'object',
      properties: Object.fromEntries(
        range(1_500, (at) => [`p${at}`, { type: 'string', description: 'x'.repeat(100) }]),
      ),
    }),
  ],
]

const links = (): readonly string[] => [
  `${elsewhere.url}/latest/meta-data`,
  'http://[::ffff:127.0.0.1]/',
  'http://0x7f000001/',
  'http://localhost./',
  'file:///etc/passwd',
  'gopher://localhost/',
  'data:text/html;base64,PHNjcmlwdD4=',
  'data:image/png;base64,!!!!',
  'data:image/png;base64,iVBORw0KGgo=',
  'data:image/svg+xml,<svg onload="x"/>',
  'data:,',
  'javascript:alert(1)',
  '',
  'x'.repeat(100_000),
]

const texts: Fields = {
  'special tokens': '<|endoftext|><|im_start|><|im_end|><|fim_prefix|><|endofprompt|>',
  'a stream': 'data: [DONE]\n\nevent: error\ndata: {"error":{"message":"x"}}\n\n',
  'lone surrogates': '\ud800 \udc00',
  NUL: '\0\u0001',
  nothing: '',
  letters: 'a'.repeat(200_000),
  'unbroken Chinese': '我们今天去看电影'.repeat(10_000),
  'families and right to left': '👨‍👩‍👧‍👦\u202eمرحبا'.repeat(5_000),
}

interface Dialect {
  readonly dialect: string
  path(model: string): string
  /** The usual request with a text. */
  said(text: unknown): Fields
  pictured(link: string): Fields
  tooled(name: unknown, schema: unknown): Fields
  shaped(schema: unknown): Fields
  /** Turns in odd orders, with calls and answers that do not belong together. */
  turns(): readonly Fields[]
}

const chatUser = { role: 'user', content: 'hi' }
const chatCall = (id: unknown, given: unknown, name: unknown = 'f') => ({
  role: 'assistant',
  content: null,
  tool_calls: [{ id, type: 'function', function: { name, arguments: given } }],
})
const chatResult = (id: unknown) => ({ role: 'tool', tool_call_id: id, content: 'x' })

const chat: Dialect = {
  dialect: 'chat',
  path: () => '/v1/chat/completions',
  said: (text) => ({ messages: [{ role: 'user', content: text }] }),
  pictured: (url) => ({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] }),
  tooled: (name, parameters) => ({
    messages: [chatUser],
    tools: [{ type: 'function', function: { name, parameters } }],
  }),
  shaped: (schema) => ({
    messages: [chatUser],
    response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
  }),
  turns: () =>
    [
      [chatUser, chatResult('nobody')],
      [chatUser, chatCall('a', '{}'), chatResult('b')],
      [chatUser, chatCall('a', '{}'), chatCall('a', '{}'), chatResult('a'), chatResult('a')],
      [chatUser, chatCall('a', 'no JSON'), chatResult('a')],
      [chatUser, chatCall('a', ''), chatResult('a')],
      [chatUser, chatCall('a', '[1]'), chatResult('a')],
      [chatUser, chatCall('', '{}', ''), chatResult('')],
      [chatUser, chatCall(5, {}, 5), chatResult(5)],
      [chatUser, { role: 'assistant', content: 'Once upon' }],
      [{ role: 'assistant', content: 'I begin.' }],
      [{ role: 'system', content: 'alone' }],
      [chatUser, { role: 'assistant', content: null, tool_calls: [] }],
      [
        chatUser,
        { role: 'assistant', content: 'x', reasoning_details: [{ type: 'reasoning.text', signature: 5 }, null, 'x'] },
        chatUser,
      ],
      [{ role: 'user', content: [{ type: 'nonsense', nonsense: 1 }] }],
      [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data: '!!!', format: 'x' } }] }],
      [{ role: 'user', content: [{ type: 'file', file: { file_data: 'data:application/pdf;base64,AAAA' } }] }],
      [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file-1' } }] }],
    ].map((messages) => ({ messages })),
}

const claudeUser = { role: 'user', content: 'hi' }
const blocks = (role: string, ...content: unknown[]) => ({ role, content })
const messages: Dialect = {
  dialect: 'messages',
  path: () => '/v1/messages',
  said: (text) => ({ max_tokens: 10, messages: [{ role: 'user', content: text }] }),
  pictured: (url) => ({ max_tokens: 10, messages: [blocks('user', { type: 'image', source: { type: 'url', url } })] }),
  tooled: (name, schema) => ({ max_tokens: 10, messages: [claudeUser], tools: [{ name, input_schema: schema }] }),
  shaped: (schema) => ({
    max_tokens: 10,
    messages: [claudeUser],
    output_config: { format: { type: 'json_schema', schema } },
  }),
  turns: () =>
    [
      [claudeUser, blocks('user', { type: 'tool_result', tool_use_id: 'nobody', content: 'x' })],
      [
        claudeUser,
        blocks(
          'assistant',
          { type: 'tool_use', id: 'a', name: 'f', input: {} },
          { type: 'tool_use', id: 'a', name: 'f', input: {} },
        ),
        blocks('user', { type: 'tool_result', tool_use_id: 'a' }),
      ],
      [claudeUser, blocks('assistant', { type: 'tool_use', id: 'a', name: 'f', input: 'no object' })],
      [claudeUser, blocks('assistant', { type: 'tool_use', id: '', name: '', input: {} })],
      [claudeUser, blocks('assistant', { type: 'thinking', thinking: 'Hm.' }, { type: 'text', text: 'x' }), claudeUser],
      [
        claudeUser,
        blocks('assistant', { type: 'thinking', thinking: 'Hm.', signature: 'altered' }, { type: 'text', text: 'x' }),
        claudeUser,
      ],
      [
        claudeUser,
        blocks('assistant', { type: 'redacted_thinking', data: 'x' }, { type: 'text', text: 'x' }),
        claudeUser,
      ],
      [claudeUser, blocks('assistant', { type: 'thinking' }, { type: 'redacted_thinking' }), claudeUser],
      [claudeUser, { role: 'assistant', content: 'Once upon' }],
      [{ role: 'assistant', content: 'I begin.' }],
      [blocks('user', { type: 'nonsense' })],
      [blocks('user', { type: 'image', source: { type: 'base64', media_type: 'text/html', data: '!!!' } })],
      [blocks('user', { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AAAA' } })],
      [blocks('user', { type: 'document', source: { type: 'file', file_id: 'x' } })],
    ].map((all) => ({ max_tokens: 10, messages: all })),
}

const item = (type: string, more: Fields): Fields => ({ type, ...more })
const responses: Dialect = {
  dialect: 'responses',
  path: () => '/v1/responses',
  said: (text) => ({ input: text }),
  pictured: (url) => ({ input: [{ role: 'user', content: [{ type: 'input_image', image_url: url }] }] }),
  tooled: (name, parameters) => ({ input: 'hi', tools: [{ type: 'function', name, parameters }] }),
  shaped: (schema) => ({ input: 'hi', text: { format: { type: 'json_schema', name: 'x', schema } } }),
  turns: () =>
    [
      [chatUser, item('function_call_output', { call_id: 'nobody', output: 'x' })],
      [
        chatUser,
        item('function_call', { call_id: 'a', name: 'f', arguments: 'no JSON' }),
        item('function_call_output', { call_id: 'b', output: 'x' }),
      ],
      [chatUser, item('function_call', { call_id: 5, name: 5, arguments: {} })],
      [chatUser, item('reasoning', { summary: 'x', encrypted_content: 5 }), chatUser],
      [chatUser, item('reasoning', { id: 'rs_of_another', summary: [] }), chatUser],
      [chatUser, item('item_reference', { id: 'msg_of_another' })],
      [chatUser, item('nonsense', { nonsense: 1 })],
      [{ role: 'assistant', content: [{ type: 'output_text', text: 'I begin.' }] }],
      [{ role: 'user', content: [{ type: 'input_file', file_id: 'x' }] }],
      [{ role: 'user', content: [{ type: 'nonsense' }] }],
    ]
      .map((input): Fields => ({ input }))
      .concat([
        { input: 'hi', previous_response_id: 'resp_of_another' },
        { input: 'hi', store: true },
        { input: 'hi', conversation: 'conv_of_another' },
      ]),
}

const part = (...parts: unknown[]) => [{ role: 'user', parts }]
const generate: Dialect = {
  dialect: 'generate',
  path: (model) => `/v1beta/models/${model}:generateContent`,
  said: (text) => ({ contents: part({ text }) }),
  pictured: (fileUri) => ({ contents: part({ fileData: { fileUri, mimeType: 'image/png' } }) }),
  tooled: (name, parametersJsonSchema) => ({
    contents: part({ text: 'hi' }),
    tools: [{ functionDeclarations: [{ name, parametersJsonSchema }] }],
  }),
  shaped: (schema) => ({
    contents: part({ text: 'hi' }),
    generationConfig: { responseMimeType: 'application/json', responseSchema: schema },
  }),
  turns: () =>
    [
      part({ text: 'hi' }, { functionResponse: { name: 'nobody', response: {} } }),
      [...part({ text: 'hi' }), { role: 'model', parts: [{ functionCall: { name: 'f', args: 'no object' } }] }],
      [
        ...part({ text: 'hi' }),
        { role: 'model', parts: [{ functionCall: { name: '', args: {} }, thoughtSignature: 5 }] },
      ],
      [...part({ text: 'hi' }), { role: 'model', parts: [{ text: 'x', thought: true, thoughtSignature: '!!!' }] }],
      [{ role: 'model', parts: [{ text: 'I begin.' }] }],
      part({ inlineData: { mimeType: 'text/html', data: '!!!' } }),
      part({ nonsense: 1 }),
      part({}),
      [{ role: 'user', parts: [] }],
    ].map((contents) => ({ contents })),
}

const pairs = [chat, messages, responses, generate].flatMap((caller) =>
  wires.map((wire) => ({ caller: caller.dialect, kind: wire.adapter, speaks: caller, wire })),
)

describe.each(pairs)('a caller of $caller with a vendor like $kind', ({ speaks, wire }) => {
  /** What became of each that is neither answered nor refused as it should be. */
  async function wrongOf(cases: readonly (readonly [name: string, body: Fields])[]): Promise<readonly string[]> {
    vendor.behave(says(wire, 'Hello', usage))
    const wrong: string[] = []
    for (const [name, body] of cases) {
      const answer = await fetch(gateway.url + speaks.path(wire.adapter), {
        method: 'POST',
        headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ ...(speaks.dialect !== 'generate' && { model: wire.adapter }), ...body }),
        signal: AbortSignal.timeout(answerMs),
      })
      const told = await answer.text()
      const refusal = refusalIn(speaks.dialect, answer.status, told) ?? ''
      if (answer.status === 200 ? !told.includes('Hello') : !/^400 (invalid_value|invalid_json)/.test(refusal))
        wrong.push(`${name}: ${answer.status} ${told.slice(0, 200)}`)
    }
    return wrong
  }

  test('says odd texts', async () => {
    expect(await wrongOf(Object.entries(texts).map(([name, text]) => [name, speaks.said(text)]))).toEqual([])
  })

  test('shows odd pictures, which nobody here fetches', async () => {
    expect(await wrongOf(links().map((link) => [link.slice(0, 40), speaks.pictured(link)]))).toEqual([])
  })

  test('has tools with odd schemas', async () => {
    expect(await wrongOf(schemas.map(([name, schema]) => [name, speaks.tooled('f', schema())]))).toEqual([])
  })

  test('has tools with odd names', async () => {
    const names = [undefined, null, '', 5, {}, 'x'.repeat(300), '../f', 'f g', '__proto__', 'f\n']
    expect(await wrongOf(names.map((name) => [String(name), speaks.tooled(name, { type: 'object' })]))).toEqual([])
  })

  test('wants answers of odd schemas', async () => {
    expect(await wrongOf(schemas.map(([name, schema]) => [name, speaks.shaped(schema())]))).toEqual([])
  })

  test('has turns that do not belong together', async () => {
    expect(await wrongOf(speaks.turns().map((body) => [JSON.stringify(body).slice(0, 160), body]))).toEqual([])
  })
})

test.each([chat, messages, responses, generate].map((speaks) => [speaks.dialect, speaks] as const))(
  'ten thousand tools of a caller of %s are answered or refused in time',
  async (_, speaks) => {
    vendor.behave(says(wires[0]!, 'Hello', usage))
    const [name, list] = Object.entries(speaks.tooled('f', { type: 'object' })).find(([field]) => field === 'tools')!
    const [one] = list as readonly Fields[]
    const answer = await fetch(gateway.url + speaks.path('groq'), {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'groq', ...speaks.said('hi'), [name]: range(10_000, () => one) }),
      signal: AbortSignal.timeout(answerMs),
    })
    expect([200, 400]).toContain(answer.status)
  },
)
