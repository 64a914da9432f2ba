import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { innerParameters } from '../../src/vendors/parameters.ts'
import { geminiParameters, translate } from '../../src/vendors/gemini-request.ts'

const model = 'gemini-2.5-flash'
const hello = [{ role: 'user', content: 'Hi' }]
const turn = { role: 'user', parts: [{ text: 'Hi' }] }

const contentsOf = (...messages: readonly JsonObject[]) => translate({ messages }, model).body
const configOf = (inner: JsonObject, name = model) =>
  translate({ messages: hello, ...inner }, name).body['generationConfig']

function faultOf(inner: JsonObject): string | undefined {
  try {
    translate({ messages: hello, ...inner }, model)
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'invalid_value') return error.param
    throw error
  }
  return 'accepted'
}

describe('messages for Gemini', () => {
  test('have all instructions in their own place', () => {
    expect(
      contentsOf(
        { role: 'system', content: 'One' },
        { role: 'user', content: 'Hi' },
        { role: 'developer', content: [{ type: 'text', text: 'Two' }] },
      ),
    ).toEqual({ contents: [turn], systemInstruction: { parts: [{ text: 'One' }, { text: 'Two' }] } })
  })

  test('that are instructions alone are a turn', () => {
    expect(contentsOf({ role: 'system', content: 'One' })).toEqual({
      contents: [{ role: 'user', parts: [{ text: 'One' }] }],
    })
  })

  test('have the answers to calls in one turn, with the names of the functions', () => {
    const call = (id: string, name: string, given: string) => ({
      id,
      type: 'function',
      function: { name, arguments: given },
    })
    const { contents } = contentsOf(
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [call('a', 'first', ''), call('call_gm_1_0', 'second', '{"x":1}')],
      },
      { role: 'tool', tool_call_id: 'a', content: '{"ok":true}' },
      { role: 'tool', tool_call_id: 'call_gm_1_0', content: 'no such thing', is_error: true },
      { role: 'user', content: 'Hi' },
    )
    expect(contents).toEqual([
      turn,
      {
        role: 'model',
        parts: [
          { functionCall: { id: 'a', name: 'first', args: {} } },
          { functionCall: { name: 'second', args: { x: 1 } } },
        ],
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: 'a', name: 'first', response: { ok: true } } },
          { functionResponse: { name: 'second', response: { error: 'no such thing' } } },
        ],
      },
      turn,
    ])
  })

  test("give the model its own thoughts back, and nobody else's", () => {
    const own = { format: 'gemini', index: 0 }
    const { contents } = contentsOf(
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: 'Hello',
        reasoning_content: 'Hm',
        reasoning_details: [
          { type: 'reasoning.text', text: 'Hm', signature: 's0', ...own },
          { type: 'reasoning.encrypted', data: 's1', ...own },
          { type: 'reasoning.encrypted', data: 's2', id: 'a', ...own },
          { type: 'reasoning.text', text: 'other', signature: 'x', format: 'anthropic', index: 1 },
        ],
        tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
      },
    )
    expect((contents as readonly JsonObject[])[1]).toEqual({
      role: 'model',
      parts: [
        { text: 'Hm', thought: true, thoughtSignature: 's0' },
        { text: 'Hello', thoughtSignature: 's1' },
        { functionCall: { id: 'a', name: 'f', args: {} }, thoughtSignature: 's2' },
      ],
    })
  })

  test.each<[string, JsonObject, JsonObject]>([
    [
      'an image',
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
      { inlineData: { mimeType: 'image/png', data: 'AAAA' } },
    ],
    [
      'a link to an image',
      { type: 'image_url', image_url: { url: 'https://a.test/b.jpg?c' } },
      { fileData: { mimeType: 'image/jpeg', fileUri: 'https://a.test/b.jpg?c' } },
    ],
    [
      'speech',
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
      { inlineData: { mimeType: 'audio/wav', data: 'AAAA' } },
    ],
    [
      'a document',
      { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' } },
      { inlineData: { mimeType: 'application/pdf', data: 'AAAA' } },
    ],
    [
      'a document by its bytes alone',
      { type: 'file', file: { filename: 'a.csv', file_data: 'AAAA' } },
      { inlineData: { mimeType: 'text/csv', data: 'AAAA' } },
    ],
    [
      'a link to a document',
      { type: 'file', file: { file_url: 'gs://a/b.pdf' } },
      { fileData: { mimeType: 'application/pdf', fileUri: 'gs://a/b.pdf' } },
    ],
    [
      'a video',
      { type: 'video_url', video_url: { url: 'https://a.test/b.mp4' } },
      { fileData: { mimeType: 'video/mp4', fileUri: 'https://a.test/b.mp4' } },
    ],
  ])('may have %s', (_, part, wanted) => {
    expect(contentsOf({ role: 'user', content: [part] })).toEqual({ contents: [{ role: 'user', parts: [wanted] }] })
  })

  test.each<[string, JsonObject, string]>([
    ['an unknown part', { role: 'user', content: [{ type: 'song' }] }, 'messages[0].content[0].type'],
    [
      'a link to nowhere',
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'file:///etc' } }] },
      'messages[0].content[0].image_url.url',
    ],
    [
      'the id of a file elsewhere',
      { role: 'user', content: [{ type: 'file', file: { file_id: 'file-1' } }] },
      'messages[0].content[0].file.file_id',
    ],
    ['an answer to no call', { role: 'tool', tool_call_id: 'x', content: '1' }, 'messages[0].tool_call_id'],
  ])('may not have %s', (_, message, param) => {
    expect(faultOf({ messages: [message] })).toBe(param)
  })
})

describe('parameters for Gemini', () => {
  test('have their own names', () => {
    expect(
      configOf({
        max_tokens: 5,
        temperature: 0,
        top_p: 0.5,
        top_k: 3,
        stop: 'x',
        n: 2,
        seed: 7,
        frequency_penalty: 0.1,
        presence_penalty: 0.2,
        logprobs: true,
        top_logprobs: 4,
        modalities: ['text', 'image'],
      }),
    ).toEqual({
      maxOutputTokens: 5,
      temperature: 0,
      topP: 0.5,
      topK: 3,
      stopSequences: ['x'],
      candidateCount: 2,
      seed: 7,
      frequencyPenalty: 0.1,
      presencePenalty: 0.2,
      responseLogprobs: true,
      logprobs: 4,
      responseModalities: ['TEXT', 'IMAGE'],
    })
  })

  test('that it does not know are left out by name, and those that ask for nothing without', () => {
    const { dropped } = translate(
      { messages: hello, user: 'u', logit_bias: {}, parallel_tool_calls: false, store: false, mystery: 1 },
      model,
    )
    expect(dropped).toEqual(['user', 'logit_bias', 'parallel_tool_calls', 'mystery'])
  })

  test.each([
    ['audio', { audio: { voice: 'a' } }],
    ['web_search_options', { web_search_options: {} }],
    ['stop', { stop: ['1', '2', '3', '4', '5', '6'] }],
    ['reasoning_effort', { reasoning_effort: 'colossal' }],
    ['tools[0].type', { tools: [{ type: 'web_search' }] }],
  ])('refuse %s', (param, inner) => {
    expect(faultOf(inner)).toBe(param)
  })

  test('have a word for each parameter of the inner language', () => {
    expect(innerParameters.filter((name) => !(name in geminiParameters))).toEqual([])
  })

  test('have tools, and none of them an empty schema', () => {
    const { body } = translate(
      {
        messages: hello,
        tools: [
          {
            type: 'function',
            function: { name: 'a', description: 'A', parameters: { type: 'object', properties: {} } },
          },
          { type: 'function', function: { name: 'b', parameters: { type: 'object', properties: { x: {} } } } },
        ],
      },
      model,
    )
    expect(body['tools']).toEqual([
      {
        functionDeclarations: [
          { name: 'a', description: 'A' },
          {
            name: 'b',
            parameters: { type: 'OBJECT', properties: { x: { type: 'STRING' } }, propertyOrdering: ['x'] },
          },
        ],
      },
    ])
  })

  test.each<[unknown, unknown]>([
    ['auto', { mode: 'AUTO' }],
    ['none', { mode: 'NONE' }],
    ['required', { mode: 'ANY' }],
    [
      { type: 'function', function: { name: 'a' } },
      { mode: 'ANY', allowedFunctionNames: ['a'] },
    ],
    [
      { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ function: { name: 'a' } }] } },
      { mode: 'ANY', allowedFunctionNames: ['a'] },
    ],
  ])('have the choice of tools %j', (choice, wanted) => {
    const { body } = translate({ messages: hello, tool_choice: choice } as JsonObject, model)
    expect(body['toolConfig']).toEqual({ functionCallingConfig: wanted })
  })

  test('have the form of the answer', () => {
    const json_schema = { name: 'n', schema: { type: 'object', properties: { b: { type: 'string' } } } }
    expect(configOf({ response_format: { type: 'json_schema', json_schema } })).toEqual({
      responseMimeType: 'application/json',
      responseSchema: { type: 'OBJECT', properties: { b: { type: 'STRING' } }, propertyOrdering: ['b'] },
    })
    expect(configOf({ response_format: { type: 'json_object' } })).toEqual({ responseMimeType: 'application/json' })
    expect(configOf({ response_format: { type: 'text' } })).toBeUndefined()
  })

  test.each<[string, JsonObject, unknown]>([
    ['gemini-2.5-flash', { reasoning_effort: 'low' }, { thinkingBudget: 1024, includeThoughts: true }],
    ['gemini-2.5-flash', { reasoning_effort: 'none' }, { thinkingBudget: 0 }],
    ['gemini-2.5-pro', { reasoning_effort: 'none' }, { thinkingBudget: 128 }],
    ['gemini-2.5-flash', { reasoning: { max_tokens: 99, exclude: true } }, { thinkingBudget: 99 }],
    ['gemini-2.5-flash', { reasoning: { exclude: false } }, { includeThoughts: true }],
    ['gemini-3-flash-preview', { reasoning_effort: 'none' }, { thinkingLevel: 'minimal' }],
    ['gemini-3-pro-preview', { reasoning_effort: 'medium' }, { thinkingLevel: 'high', includeThoughts: true }],
    ['gemini-3.1-pro-preview', { reasoning_effort: 'medium' }, { thinkingLevel: 'medium', includeThoughts: true }],
    ['gemini-flash-latest', { reasoning_effort: 'high' }, { thinkingBudget: 24_576, includeThoughts: true }],
  ])('have for %s the thinking of %j', (name, inner, wanted) => {
    expect(configOf(inner, name)).toEqual({ thinkingConfig: wanted })
  })

  test('have no thinking for models from before it', () => {
    const { body, dropped } = translate({ messages: hello, reasoning_effort: 'low' }, 'gemini-2.0-flash')
    expect([body['generationConfig'], dropped]).toEqual([undefined, ['reasoning_effort']])
  })

  test('are translated or refused, whatever they are', () => {
    const name = fc.constantFrom(...innerParameters, 'functions', 'function_call', 'messages')
    const message = fc.dictionary(
      fc.constantFrom('role', 'content', 'tool_calls', 'tool_call_id', 'reasoning_details', 'images', 'function_call'),
      fc.oneof(fc.jsonValue(), fc.constantFrom('user', 'assistant', 'tool', 'a')),
    )
    fc.assert(
      fc.property(fc.dictionary(name, fc.jsonValue()), fc.array(message), (inner, messages) => {
        try {
          translate({ messages, ...inner } as JsonObject, model)
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_value', param: expect.any(String) })
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
