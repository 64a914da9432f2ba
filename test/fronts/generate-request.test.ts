import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { generate } from '../../src/fronts/generate.ts'
import { signatureOf } from '../../src/fronts/generate-signature.ts'

const encoder = new TextEncoder()
const path = '/v1beta/models/m:generateContent'
const hello = [{ role: 'user', parts: [{ text: 'Hi' }] }]

function partsOf(given: string, query: Readonly<Record<string, string>> = {}) {
  return { id: 'call-1', startedAtMs: 7, path: given, header: () => undefined, query: (name: string) => query[name] }
}

function read(body: unknown, given = path, query: Readonly<Record<string, string>> = {}): Call {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return generate.read(encoder.encode(text), partsOf(given, query))
}

const innerOf = (fields: JsonObject): JsonObject => read({ contents: hello, ...fields }).inner
const messagesOf = (...contents: readonly JsonObject[]) => read({ contents }).inner['messages']
const asked = (config: JsonObject) => {
  const { model: _, messages: __, ...rest } = innerOf({ generationConfig: config })
  return rest
}

function faultOf(body: unknown, given = path): readonly unknown[] {
  try {
    read(body, given)
  } catch (error) {
    if (error instanceof GatewayError) return [error.status, error.param]
    throw error
  }
  return ['accepted']
}

describe('a request to generateContent', () => {
  test('is read with its bytes kept, its model from the path', () => {
    const text = '{ "contents": [{"parts":[{"text":"Hi"}]}], "generationConfig": {"maxOutputTokens": 9} }'
    const { raw, body, ...rest } = read(text, '/v1beta/models/a/b:generateContent')
    expect({ ...rest, text: new TextDecoder().decode(raw), names: Object.keys(body) }).toEqual({
      id: 'call-1',
      dialect: 'generate',
      operation: 'chat',
      model: 'a/b',
      inner: { model: 'a/b', messages: [{ role: 'user', content: 'Hi' }], max_completion_tokens: 9 },
      stream: false,
      wantsUsage: true,
      maxOutput: 9,
      choices: 1,
      startedAtMs: 7,
      text,
      names: ['contents', 'generationConfig'],
    })
  })

  test.each([
    [{ alt: 'sse' }, 'sse'],
    [{}, 'array'],
    [{ alt: 'json' }, 'array'],
  ])('that streams with %j has the form of %s', (query, form) => {
    const call = read({ contents: hello }, '/v1beta/models/m:streamGenerateContent', query)
    expect([call.stream, call.form]).toEqual([true, form])
  })

  test('may spell its fields in two ways', () => {
    const camel = {
      contents: [{ parts: [{ inlineData: { mimeType: 'image/png', data: 'AAAA' } }] }],
      systemInstruction: { parts: [{ text: 'Be brief' }] },
      generationConfig: { maxOutputTokens: 3, topP: 0.5, responseMimeType: 'application/json' },
    }
    const snake = {
      contents: [{ parts: [{ inline_data: { mime_type: 'image/png', data: 'AAAA' } }] }],
      system_instruction: { parts: [{ text: 'Be brief' }] },
      generation_config: { max_output_tokens: 3, top_p: 0.5, response_mime_type: 'application/json' },
    }
    expect(read(snake).inner).toEqual(read(camel).inner)
  })

  test.each<[string, unknown, readonly unknown[]]>([
    ['no contents', {}, [400, 'contents']],
    ['empty contents', { contents: [] }, [400, 'contents']],
    ['contents that are no objects', { contents: ['Hi'] }, [400, 'contents']],
    ['parts that are no objects', { contents: [{ parts: ['Hi'] }] }, [400, 'parts']],
    ['a bound of nothing', { contents: hello, generationConfig: { maxOutputTokens: 0 } }, [400, 'maxOutputTokens']],
    ['a bound that is text', { contents: hello, generationConfig: { maxOutputTokens: '9' } }, [400, 'maxOutputTokens']],
    ['too many candidates', { contents: hello, generationConfig: { candidateCount: 129 } }, [400, 'candidateCount']],
    ['too much heat', { contents: hello, generationConfig: { temperature: 2.1 } }, [400, 'temperature']],
    ['one field in both spellings', { contents: hello, toolConfig: {}, tool_config: {} }, [400, 'toolConfig']],
    ['a field twice', '{"contents":[],"contents":[{"parts":[{"text":"Hi"}]}]}', [400, 'contents']],
    [
      'a bound twice',
      '{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
      [400, 'maxOutputTokens'],
    ],
    ['tools that are text', { contents: hello, tools: 'all' }, [400, 'tools']],
    ['no JSON', '{', [400, undefined]],
    ['a list', '[]', [400, undefined]],
  ])('with %s is refused', (_, body, wanted) => {
    expect(faultOf(body)).toEqual(wanted)
  })

  test('for no model is refused', () => {
    expect(faultOf({ contents: hello }, '/v1beta/models/:generateContent')).toEqual([400, 'model'])
    expect(faultOf({ contents: hello }, `/v1beta/models/${'m'.repeat(257)}:generateContent`)).toEqual([400, 'model'])
  })
})

describe('its contents', () => {
  test('become messages, with answers to calls after the calls', () => {
    expect(
      messagesOf(
        { role: 'user', parts: [{ text: 'Hi' }] },
        {
          role: 'model',
          parts: [
            { text: 'Hm', thought: true },
            { text: 'Let me ' },
            { text: 'see.', thoughtSignature: 'c2ln' },
            { functionCall: { name: 'f', args: { a: 1 } }, thoughtSignature: 'b25l' },
            { functionCall: { id: 'x', name: 'f', args: {} } },
          ],
        },
        {
          role: 'user',
          parts: [
            { functionResponse: { name: 'f', response: { output: 'one' } } },
            { functionResponse: { id: 'x', name: 'f', response: { error: 'two' } } },
            { text: 'So?' },
          ],
        },
      ),
    ).toEqual([
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: 'Let me see.',
        reasoning_content: 'Hm',
        reasoning_details: [
          { type: 'reasoning.encrypted', data: 'c2ln', format: 'gemini', index: 0 },
          { type: 'reasoning.encrypted', data: 'b25l', id: 'call_0', format: 'gemini', index: 1 },
          { type: 'reasoning.text', text: 'Hm', format: 'gemini', index: 2 },
        ],
        tool_calls: [
          { id: 'call_0', type: 'function', function: { name: 'f', arguments: '{"a":1}' } },
          { id: 'x', type: 'function', function: { name: 'f', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_0', content: 'one' },
      { role: 'tool', tool_call_id: 'x', content: 'two', is_error: true },
      { role: 'user', content: 'So?' },
    ])
  })

  test.each<[string, JsonObject, JsonObject]>([
    [
      'an image',
      { inlineData: { mimeType: 'image/png', data: 'AAAA' } },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
    ],
    [
      'speech',
      { inlineData: { mimeType: 'audio/mpeg', data: 'AAAA' } },
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'mp3' } },
    ],
    [
      'a document',
      { inlineData: { mimeType: 'application/pdf', data: 'AAAA' } },
      { type: 'file', file: { filename: 'file.pdf', file_data: 'data:application/pdf;base64,AAAA' } },
    ],
    [
      'a link',
      { fileData: { mimeType: 'application/pdf', fileUri: 'https://a.test/b' } },
      { type: 'file', file: { file_url: 'https://a.test/b' } },
    ],
    ['code', { executableCode: { language: 'PYTHON', code: '1' } }, { type: 'text', text: '\n```python\n1\n```\n' }],
  ])('may have %s', (_, part, wanted) => {
    expect(messagesOf({ parts: [{ text: 'See' }, part] })).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'See' }, wanted] },
    ])
  })

  test("bring another vendor's reasoning back byte for byte, in either alphabet of base64", () => {
    const items = [
      { type: 'reasoning.text', text: 'Hm ÿ?>', signature: 'abc+/==', format: 'anthropic' },
      { type: 'reasoning.encrypted', data: 'zzz', id: 'rs_1', format: 'openai-responses' },
    ]
    const urls = (text: string) => text.replaceAll('+', '-').replaceAll('/', '_')
    const parts = items.map((item) => ({ text: '', thought: true, thoughtSignature: urls(signatureOf(item)) }))
    const [, message] = messagesOf({ parts: [{ text: 'Hi' }] }, { role: 'model', parts }) as readonly JsonObject[]
    expect(message?.['reasoning_details']).toEqual(items.map((item, index) => ({ ...item, index })))
  })

  test('give a thought that came in many parts its text again', () => {
    const item = { type: 'reasoning.text', signature: 's', format: 'anthropic' }
    const parts = [
      { text: 'One ', thought: true },
      { text: 'two', thought: true },
      { text: '', thought: true, thoughtSignature: signatureOf(item) },
    ]
    const [, message] = messagesOf({ parts: [{ text: 'Hi' }] }, { role: 'model', parts }) as readonly JsonObject[]
    expect(message?.['reasoning_details']).toEqual([{ ...item, text: 'One two', index: 0 }])
  })
})

describe('its configuration', () => {
  test('has the names of the inner language', () => {
    expect(
      asked({
        temperature: 0,
        topP: 0.5,
        topK: 4,
        candidateCount: 2,
        stopSequences: ['x'],
        seed: 7,
        presencePenalty: 0.1,
        frequencyPenalty: 0.2,
        responseLogprobs: true,
        logprobs: 3,
        responseModalities: ['TEXT', 'IMAGE'],
        mediaResolution: 'LOW',
      }),
    ).toEqual({
      temperature: 0,
      top_p: 0.5,
      top_k: 4,
      n: 2,
      stop: ['x'],
      seed: 7,
      presence_penalty: 0.1,
      frequency_penalty: 0.2,
      logprobs: true,
      top_logprobs: 3,
      modalities: ['text', 'image'],
      media_resolution: 'LOW',
    })
  })

  test.each<[JsonObject, JsonObject]>([
    [{ thinkingBudget: 0 }, { reasoning_effort: 'none' }],
    [{ thinkingBudget: 512 }, { reasoning: { max_tokens: 512, exclude: true } }],
    [{ thinkingBudget: -1, includeThoughts: true }, { reasoning: { exclude: false } }],
    [{ thinkingLevel: 'LOW' }, { reasoning_effort: 'low', reasoning: { exclude: true } }],
  ])('has the thinking of %j', (thinkingConfig, wanted) => {
    expect(asked({ thinkingConfig })).toEqual(wanted)
  })

  test('has schemas as JSON Schema', () => {
    const responseSchema = {
      type: 'OBJECT',
      properties: { a: { type: 'STRING', nullable: true, minLength: '2' }, b: { any_of: [{ type: 'NUMBER' }] } },
      required: ['a'],
      propertyOrdering: ['a', 'b'],
    }
    const schema = {
      type: 'object',
      properties: { a: { type: ['string', 'null'], minLength: 2 }, b: { anyOf: [{ type: 'number' }] } },
      required: ['a'],
    }
    expect(asked({ responseSchema, responseMimeType: 'application/json' })).toEqual({
      response_format: { type: 'json_schema', json_schema: { name: 'response', schema } },
    })
    expect(asked({ responseJsonSchema: { type: 'array' } })).toEqual({
      response_format: { type: 'json_schema', json_schema: { name: 'response', schema: { type: 'array' } } },
    })
    expect(asked({ responseMimeType: 'application/json' })).toEqual({ response_format: { type: 'json_object' } })
  })

  test("has tools, and Google's own under their names", () => {
    const parametersJsonSchema = { type: 'object' }
    const { tools } = innerOf({
      tools: [
        { functionDeclarations: [{ name: 'a', description: 'A', parameters: { type: 'OBJECT' } }] },
        { function_declarations: [{ name: 'b', parametersJsonSchema }], googleSearch: {} },
      ],
    })
    expect(tools).toEqual([
      { type: 'function', function: { name: 'a', description: 'A', parameters: { type: 'object' } } },
      { type: 'function', function: { name: 'b', parameters: parametersJsonSchema } },
      { type: 'google_search', google_search: {} },
    ])
  })

  test.each<[JsonObject, unknown]>([
    [{ mode: 'AUTO' }, 'auto'],
    [{ mode: 'NONE' }, 'none'],
    [{ mode: 'ANY' }, 'required'],
    [
      { mode: 'ANY', allowedFunctionNames: ['a'] },
      { type: 'function', function: { name: 'a' } },
    ],
    [{}, undefined],
  ])('has the choice of tools %j', (functionCallingConfig, wanted) => {
    expect(innerOf({ toolConfig: { functionCallingConfig } })['tool_choice']).toEqual(wanted)
  })

  test('keeps the names of what has no counterpart', () => {
    const { safety_settings: safety, cached_content: cached } = innerOf({ safetySettings: [{}], cachedContent: 'c' })
    expect([safety, cached]).toEqual([[{}], 'c'])
  })
})

describe('a request to countTokens', () => {
  const count = (body: unknown) =>
    generate.counting?.read(encoder.encode(JSON.stringify(body)), partsOf('/v1beta/models/m:countTokens'))

  test.each([
    ['contents alone', { contents: hello }],
    ['a whole request', { generateContentRequest: { model: 'models/other', contents: hello } }],
    ['a whole request in the other spelling', { generate_content_request: { contents: hello } }],
  ])('may have %s', (_, body) => {
    const { model, inner, stream } = count(body) ?? {}
    expect([model, inner, stream]).toEqual(['m', { model: 'm', messages: [{ role: 'user', content: 'Hi' }] }, false])
  })

  test('is answered with the number', () => {
    expect(generate.counting?.reply(7)).toEqual({ totalTokens: 7 })
  })
})

test('whatever is sent is read or refused', () => {
  const name = fc.constantFrom(
    'contents',
    'role',
    'parts',
    'text',
    'thought',
    'thoughtSignature',
    'functionCall',
    'functionResponse',
    'name',
    'args',
    'response',
    'inlineData',
    'fileData',
    'mimeType',
    'tools',
    'functionDeclarations',
    'parameters',
    'generationConfig',
    'responseSchema',
    'properties',
    'toolConfig',
    'systemInstruction',
    'thinkingConfig',
  )
  const { value } = fc.letrec<{ value: unknown; object: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom('model', 'user', 'OBJECT'),
      tie('object'),
      fc.array(tie('value'), { maxLength: 3 }),
    ),
    object: fc.dictionary(name, tie('value'), { maxKeys: 4 }),
  }))
  fc.assert(
    fc.property(value, value, (contents, rest) => {
      const body = { contents: [{ parts: [{ text: 'Hi' }] }, contents], ...(rest as object) }
      expect(faultOf(body)[0]).toSatisfy((status) => status === 400 || status === 'accepted')
    }),
    { numRuns: 1_000 },
  )
})
