import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { objectsOf } from '../../src/core/wire.ts'
import { spread } from '../../src/meter/spread.ts'

const usage = { counts: { input: 1, output: 2 }, anomalies: [] }
const choice = (content: string, finish: string): JsonObject => ({
  message: { role: 'assistant', content },
  finish_reason: finish,
})
const bodyOf = (...choices: readonly JsonObject[]): JsonObject => ({ id: 'c', created: 1, model: 'm', choices })

describe('one body as a stream', () => {
  test('says each message, then its end, then the usage, then that it is over', () => {
    const steps = spread(bodyOf(choice('Hi', 'stop')), { text: 'Hi', usage, finish: 'end_turn', servedModel: 'v' })
    const top = { id: 'c', created: 1, model: 'm', object: 'chat.completion.chunk' }
    expect(steps.map(({ piece }) => piece)).toEqual([
      {
        servedModel: 'v',
        text: 'Hi',
        content: true,
        chunks: [{ ...top, choices: [{ index: 0, delta: { role: 'assistant', content: 'Hi' }, finish_reason: null }] }],
      },
      {
        content: true,
        finish: 'end_turn',
        chunks: [{ ...top, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }],
      },
      { usage, usageOnly: true, whole: true, chunks: [{ ...top, choices: [] }] },
      { last: true, chunks: [] },
    ])
  })

  test('of several choices ends each in its own word', () => {
    const steps = spread(bodyOf(choice('a', 'stop'), choice('b', 'length')), { text: 'ab', finish: 'stop' })
    expect(steps.map(({ piece }) => piece.finish).filter((finish) => finish !== undefined)).toEqual(['stop', 'length'])
  })

  test('gives tool calls the index that they need in a stream', () => {
    const message = { role: 'assistant', content: null, tool_calls: [{ id: 'a' }, { id: 'b', index: 7 }] }
    const [first] = spread(bodyOf({ message, finish_reason: 'tool_calls' }), { text: '' })
    const [delta] = objectsOf(first?.piece.chunks?.[0]?.['choices']).map((one) => one['delta'])
    const calls = [
      { id: 'a', index: 0 },
      { id: 'b', index: 1 },
    ]
    expect(delta).toEqual({ ...message, tool_calls: calls })
  })

  test.each([
    ['128 choices', bodyOf(...Array.from({ length: 128 }, () => choice('a', 'stop'))), false],
    ['129 choices', bodyOf(...Array.from({ length: 129 }, () => choice('a', 'stop'))), true],
    ['1,001 members', Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [`m${at}`, 1])), true],
  ])('of %s is too much: %s', (_, body, isRefused) => {
    const run = () => spread(body, { text: '' })
    if (isRefused) expect(run).toThrow('too large')
    else expect(run).not.toThrow()
  })
})
