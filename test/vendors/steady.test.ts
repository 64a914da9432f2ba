import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call } from '../../src/core/call.ts'
import { chat } from '../../src/fronts/chat.ts'
import { messages as front } from '../../src/fronts/messages.ts'
import { passingVoice } from '../../src/meter/voice.ts'
import { vendors } from '../../src/vendors/index.ts'
import type { Piece } from '../../src/vendors/vendor.ts'
import { passing as reading } from './streams.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const { call } = reading

type Read = (data: string) => Piece

function reader(): Read {
  const vendor = vendors.get('openai')
  if (!vendor) throw new Error('there is no such vendor')
  const read = vendor.reader({ call, translates: false })
  return (data) => read({ name: '', data: encoder.encode(data) })
}

interface Chunk {
  readonly id: string
  readonly stamp: string
  readonly delta: object
  readonly index: number
}

const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.constantFrom('content', 'id', 'gpt', 'assistant', '"', '\\', '","x":"', '~0\u007f0~', ' token', '你好', ''),
)

const chunk: fc.Arbitrary<Chunk> = fc.record({
  id: fc.oneof(fc.constant('chatcmpl-1'), text),
  stamp: text,
  delta: fc.oneof(
    { weight: 6, arbitrary: fc.record({ content: text }) },
    { weight: 2, arbitrary: fc.record({ reasoning_content: text }) },
    { weight: 1, arbitrary: fc.record({ role: fc.constant('assistant'), content: text }) },
    {
      weight: 1,
      arbitrary: text.map((part) => ({ tool_calls: [{ index: 0, function: { arguments: part } }] })),
    },
  ),
  index: fc.constantFrom(0, 0, 0, 1),
})

const printed = ({ id, stamp, delta, index }: Chunk, more: object = {}): string =>
  JSON.stringify({
    id,
    object: 'chat.completion.chunk',
    created: 1_760_000_000,
    model: 'gpt',
    system_fingerprint: stamp,
    choices: [{ index, delta, logprobs: null, finish_reason: null }],
    usage: null,
    ...more,
  })

/** What an event says, without how that was found out. */
function saying({ like: _, repaired, ...piece }: Piece): object {
  if (!repaired) return piece
  const { at: __, ...chunk } = JSON.parse(decoder.decode(repaired)) as { at?: number }
  return { ...piece, chunk }
}

describe('events of a known shape', () => {
  test('say what they would say if each were read in full', () => {
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 40 }), (chunks) => {
        const [quick, slow] = [reader(), reader()]
        for (const [at, each] of chunks.entries()) {
          // A number that is never the same keeps the other reader from knowing any shape.
          const inFull = slow(printed(each, { at }))
          expect(inFull.like).toBeUndefined()
          expect(saying(quick(printed(each)))).toEqual(saying(inFull))
        }
      }),
    )
  })

  test('are passed on as they would be if each were edited on its own', () => {
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 40 }), fc.boolean(), (chunks, wantsUsage) => {
        const read = reader()
        const passing = chat.passing({ ...call, wantsUsage })
        const voice = passingVoice(chat.passing({ ...call, wantsUsage }))
        const steps = chunks.map((each) => {
          const event = { name: '', data: encoder.encode(printed(each)) }
          return { event, piece: read(printed(each)) }
        })
        const one = steps.map((step) => decoder.decode(passing.event(step))).join('')
        expect(
          voice
            .steps(steps)
            .map((part) => decoder.decode(part))
            .join(''),
        ).toBe(one)
      }),
    )
  })

  test('are recognised', () => {
    const read = reader()
    const say = (content: string, stamp: string) =>
      read(printed({ id: 'chatcmpl-1', stamp, delta: { content }, index: 0 }))
    expect(say('Hello', 'fp_1').like).toBeUndefined()
    const { like, ...piece } = say(' you', 'fp_2')
    expect(like?.shape.literals.length).toBe(4)
    expect(piece).toEqual({ text: ' you', content: true, servedModel: 'gpt' })
  })

  test('do not hide the end, usage or an error', () => {
    const read = reader()
    for (const content of ['One', 'two', 'three']) read(printed({ id: 'a', stamp: 'b', delta: { content }, index: 0 }))
    const ended = printed({ id: 'a', stamp: 'b', delta: { content: 'x' }, index: 0 })
    expect(read(ended.replace('"finish_reason":null', '"finish_reason":"stop"')).finish).toBe('stop')
    const usage = '"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}'
    expect(read(ended.replace('"usage":null', usage)).usage?.counts).toEqual({ input: 1, output: 2 })
    expect(read('{"error":{"message":"no"}}').error?.code).toBe('vendor_error')
  })
})

describe('events of Anthropic', () => {
  const messages: Call = { ...call, dialect: 'messages' }
  const said = fc.oneof(
    text.map((part) => ({ type: 'text_delta', text: part })),
    text.map((part) => ({ type: 'thinking_delta', thinking: part })),
    text.map((part) => ({ type: 'input_json_delta', partial_json: part })),
    text.map((part) => ({ type: 'signature_delta', signature: part })),
  )
  const deltas = fc.array(fc.tuple(fc.constantFrom(0, 0, 1), said), { maxLength: 40 })
  const name = 'content_block_delta'
  const data = ([index, delta]: readonly [number, object], more: object = {}): Uint8Array =>
    encoder.encode(JSON.stringify({ type: name, index, delta, ...more }))
  const anthropicReader = () => vendors.get('anthropic')?.reader({ call: messages, translates: false })

  test('say and are passed on as if each were read in full', () => {
    fc.assert(
      fc.property(deltas, (all) => {
        const [quick, slow] = [anthropicReader(), anthropicReader()]
        const passing = front.passing(messages)
        const steps = all.flatMap((each, at) => {
          const event = { name, data: data(each) }
          const piece = quick?.(event) ?? {}
          expect(saying(piece)).toEqual(saying(slow?.({ name, data: data(each, { at }) }) ?? {}))
          return [{ event, piece }]
        })
        const one = steps.map((step) => decoder.decode(passing.event(step))).join('')
        const voice = passingVoice(front.passing(messages))
        expect(
          voice
            .steps(steps)
            .map((part) => decoder.decode(part))
            .join(''),
        ).toBe(one)
      }),
    )
  })

  test('are recognised', () => {
    const read = anthropicReader()
    const say = (part: string) => read?.({ name, data: data([0, { type: 'text_delta', text: part }]) })
    expect([say('Hello')?.like, say(' you')?.like?.shape.literals.length]).toEqual([undefined, 2])
  })
})
