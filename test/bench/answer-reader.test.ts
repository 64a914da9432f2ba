import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AnswerReader } from '../../bench/contest/answer-reader.ts'
import { stampOf } from '../../bench/contest/wire.ts'

const tailBytes = 1_024

function plain(body: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

function chunked(pieces: readonly string[]): string {
  const chunk = (piece: string) => `${Buffer.byteLength(piece).toString(16)}\r\n${piece}\r\n`
  return `HTTP/1.1 429 Too Many\r\ntransfer-encoding: chunked\r\n\r\n${pieces.map(chunk).join('')}0\r\n\r\n`
}

/** Feeds an answer cut at these places; gives after how many bytes it was whole. */
function feed(reader: AnswerReader, answer: string, cuts: readonly number[]): number | undefined {
  const bytes = Buffer.from(answer)
  const places = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].toSorted((a, b) => a - b)
  for (const [at, from] of places.slice(0, -1).entries()) {
    const to = places[at + 1] ?? bytes.length
    if (reader.feed(bytes.subarray(from, to))) return to
  }
  return undefined
}

const cuts = fc.array(fc.nat(100_000), { maxLength: 30 })
const text = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 3_000 })

test('an answer is whole at its last byte, wherever it is cut, and its last bytes are known', () => {
  const answers = fc.oneof(
    text.map((body) => ({ body, answer: plain(body), status: 200 })),
    fc
      .array(text, { minLength: 1, maxLength: 10 })
      .map((pieces) => ({ body: pieces.join(''), answer: chunked(pieces), status: 429 })),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(answers, cuts), { minLength: 1, maxLength: 3 }), (several) => {
      const reader = new AnswerReader()
      for (const [{ body, answer, status }, places] of several) {
        reader.reset()
        expect(feed(reader, answer, places)).toBe(Buffer.byteLength(answer))
        expect(reader.status).toBe(status)
        expect(reader.tail().endsWith(body.slice(-tailBytes))).toBe(true)
      }
    }),
  )
})

test('the time at which an event was written is read from the newest bytes', () => {
  const reader = new AnswerReader()
  reader.feed(Buffer.from(chunked([`data: ${stampOf(1_234_567)}\n\n`, `data: ${stampOf(7)}\n\n`])))
  expect(reader.stampUs).toBe(1_234_567)
})

test.each([
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n', 'this is no answer of HTTP/1.1'],
  ['no length', 'HTTP/1.1 200 OK\r\n\r\n', 'the answer does not say how long it is'],
  ['a size that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', 'a piece without a length'],
  ['a head without an end', `HTTP/1.1 200 OK\r\n${'a'.repeat(40_000)}`, 'a line of the answer never ends'],
])('%s is no answer', (_, answer, why) => {
  expect(() => new AnswerReader().feed(Buffer.from(answer))).toThrow(why)
})
