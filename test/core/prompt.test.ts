import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { readPrompt, utf8Length } from '../../src/core/prompt.ts'

const user = (...content: readonly JsonObject[]): JsonObject => ({ messages: [{ role: 'user', content }] })
const image = (more: JsonObject = {}): JsonObject => ({
  type: 'image_url',
  image_url: { url: `data:image/png;base64,${'A'.repeat(2_000_000)}`, ...more },
})

describe('the text of a prompt', () => {
  test('is everything that the model reads', () => {
    const body = {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', name: 'ann', content: [{ type: 'text', text: 'Hi' }] },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'hm',
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: 'done' },
      ],
      tools: [{ type: 'function', function: { name: 'f' } }],
    }
    expect(readPrompt(body)).toEqual({
      texts: [
        'system',
        'Be brief.',
        'user',
        'ann',
        'Hi',
        'assistant',
        'hm',
        'f',
        '{}',
        'tool',
        'done',
        '[{"type":"function","function":{"name":"f"}}]',
      ],
      fixedTokens: 4 * 3 + 3,
      upperBound:
        'systemBe brief.userannHiassistanthmf{}tooldone[{"type":"function","function":{"name":"f"}}]'.length + 15,
    })
  })

  test.each([
    ['an image', image(), 6 + 1105],
    ['an image at low detail', image({ detail: 'low' }), 6 + 85],
    [
      'an image in a field that nobody knows',
      { type: 'video', video: ['data:video/mp4;base64,AAAA', 'data:video/mp4;base64,AAAA'] },
      6 + 2 * 1105,
    ],
    ['100 s of speech', { type: 'input_audio', input_audio: { data: 'A'.repeat(533_000), format: 'mp3' } }, 6 + 1000],
    ['a file', { type: 'file', file: { file_data: 'A'.repeat(1600) } }, 6 + 1105 + 100],
  ])('counts %s by a fixed number, not as text', (_, part, fixedTokens) => {
    expect(readPrompt(user(part))).toEqual({ texts: ['user'], fixedTokens, upperBound: fixedTokens + 4 })
  })

  test('holds the schema of the answer, and of a format without one nothing', () => {
    const texts = ['json_object', 'json_schema'].map((type) => {
      const schema = type === 'json_schema' ? { json_schema: { name: 'x' } } : {}
      return readPrompt({ ...user(), response_format: { type, ...schema } }).texts
    })
    expect(texts).toEqual([['user'], ['user', '{"name":"x"}']])
  })

  test.each([
    ['text', [{ type: 'reasoning.text', text: 'hm', signature: 's=' }], { texts: ['assistant', 'hm'], fixed: 0 }],
    ['a summary', [{ type: 'reasoning.summary', summary: 'hm' }], { texts: ['assistant', 'hm'], fixed: 0 }],
    [
      'no text that can be read',
      [{ type: 'reasoning.encrypted', data: 'x'.repeat(101) }],
      { texts: ['assistant'], fixed: 21 },
    ],
  ])('holds thinking that goes back to its vendor as %s', (_, details, { texts, fixed }) => {
    const body = { messages: [{ role: 'assistant', content: null, reasoning_details: details }] }
    const read = readPrompt(body)
    // Three around each message, three before the answer.
    expect([read.texts, read.fixedTokens]).toEqual([texts, 6 + fixed])
  })

  test('holds thinking once where it is there in two forms', () => {
    const details = [{ type: 'reasoning.text', text: 'hm' }]
    const message = { role: 'assistant', content: null, reasoning_content: 'hm', reasoning_details: details }
    expect(readPrompt({ messages: [message] }).texts).toEqual(['assistant', 'hm'])
  })

  test('is never shorter than its bytes in UTF-8 say', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        // Halves of pairs side by side, too.
        const text = a + b.slice(1)
        expect(utf8Length(text)).toBe(new TextEncoder().encode(text).length)
      }),
    )
  })

  test('of anything at all is read without throwing', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom('messages', 'tools', 'response_format'), fc.jsonValue()), (body) => {
        expect(readPrompt(body as JsonObject).fixedTokens).toBeGreaterThanOrEqual(3)
      }),
    )
  })
})
