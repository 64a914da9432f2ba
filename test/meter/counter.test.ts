import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { roughTokens } from '../../src/core/pieces.ts'
import { openCounter } from '../../src/meter/counter.ts'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Tokenizer } from '../../src/ports.ts'

const tokenizer = await openTokenizer()
afterAll(() => tokenizer.close())

/** A tokenizer whose counts come when the test says so: one token per piece. */
function heldTokenizer() {
  const asked: string[] = []
  const answers: (() => void)[] = []
  const held: Tokenizer = {
    name: 'held',
    count(text) {
      asked.push(text)
      return new Promise((resolve) => answers.push(() => resolve(1)))
    },
    close: () => Promise.resolve(),
  }
  /** Answers everything that is asked until nothing more is. */
  const release = async () => {
    while (answers.length > 0) {
      for (const answer of answers.splice(0)) answer()
      await nextTurn()
    }
  }
  return { held, asked, answers, release }
}

const failing = (count: Tokenizer['count']): Tokenizer => ({ name: 'failing', count, close: () => Promise.resolve() })

test('nothing has no tokens', async () => {
  const counter = openCounter(tokenizer)
  expect([counter.estimate(), await counter.total()]).toEqual([0, 0])
})

const part = fc.oneof(
  fc.constantFrom(
    'Some words of an answer, ',
    'function f(x) { return x }\n',
    '汉字没有空格',
    '😀',
    '\ud83d',
    '<|endoftext|>',
    ' ',
    '\n',
  ),
  fc.constantFrom('a'.repeat(700), '汉'.repeat(600), 'words and words '.repeat(80)),
  fc.string({ unit: 'binary' }),
)

test('any deltas of a text count as the whole text does', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
      async (parts, steps) => {
        const text = parts.join('')
        const counter = openCounter(tokenizer)
        for (let at = 0, turn = 0; at < text.length; turn++) {
          const end = at + (steps[turn % steps.length] ?? 1)
          counter.add(text.slice(at, end))
          at = end
          if (turn % 16 === 0) await nextTurn()
        }
        expect(await counter.total()).toBe(await tokenizer.count(text))
      },
    ),
    { numRuns: 60 },
  )
})

test('half a megabyte in one delta counts as the whole text does', async () => {
  const text = 'Words, and 汉字, and code() { return 1 }\n'.repeat(14_000)
  const counter = openCounter(tokenizer)
  counter.add(text)
  expect(await counter.total()).toBe(await tokenizer.count(text))
})

test('the estimate covers what is not counted yet', () => {
  const { held } = heldTokenizer()
  const counter = openCounter(held)
  counter.add('abcd')
  counter.add('中文')
  expect(counter.estimate()).toBe(4)
})

test('the estimate does not depend on the deltas', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 20 }), { maxLength: 20 }), (deltas) => {
      const counter = openCounter(heldTokenizer().held)
      for (const delta of deltas) counter.add(delta)
      expect(counter.estimate()).toBe(roughTokens(deltas.join('')))
    }),
  )
})

test('counted pieces replace their estimate', async () => {
  const { held, release } = heldTokenizer()
  const counter = openCounter(held)
  counter.add(`${'a'.repeat(512)}bcd`) // two pieces of 256, the second one not whole yet
  const before = counter.estimate()
  await release()
  expect([before, counter.estimate()]).toEqual([Math.ceil(515 / 3), 1 + Math.ceil(259 / 3)])
})

test('nothing is sent before a piece is whole', () => {
  const { held, asked } = heldTokenizer()
  const counter = openCounter(held)
  counter.add('a'.repeat(511))
  expect(asked).toEqual([])
})

test('at most 32 pieces are with the tokenizer, the others wait their turn', async () => {
  const { held, asked, release } = heldTokenizer()
  const counter = openCounter(held)
  counter.add('a'.repeat(256 * 100))
  const atOnce = asked.length
  const total = counter.total()
  await release()
  expect([atOnce, asked.length, await total]).toEqual([32, 100, 100])
})

test('beyond a mebi of waiting characters the estimate counts', async () => {
  const { held, asked, release } = heldTokenizer()
  const counter = openCounter(held)
  counter.add('中'.repeat(2 * 1024 * 1024 + 256)) // the last piece is never whole, so it waits for `total`
  const total = counter.total()
  await release()
  expect(asked).toHaveLength(4096 + 1)
  expect(await total).toBe(4096 + 1 + 1024 * 1024)
})

test('a piece that the tokenizer rejects counts by its estimate', async () => {
  const counter = openCounter(failing(() => Promise.reject(new Error('broken on purpose'))))
  counter.add('中'.repeat(600))
  expect(await counter.total()).toBe(600)
})

test('a tokenizer that throws is one that rejects', async () => {
  const counter = openCounter(
    failing(() => {
      throw new Error('broken on purpose')
    }),
  )
  counter.add('中'.repeat(600))
  expect(await counter.total()).toBe(600)
})

test('the total may be asked twice', async () => {
  const counter = openCounter(tokenizer)
  counter.add('hello world'.repeat(100))
  expect(await counter.total()).toBe(await counter.total())
})

test('a total that is asked for in mid-stream counts nothing twice, though the rest is counted late', async () => {
  const waiting: { text: string; answer: (tokens: number) => void }[] = []
  const late: Tokenizer = {
    name: 'late',
    count: (text) => new Promise((answer) => waiting.push({ text, answer })),
    close: () => Promise.resolve(),
  }
  const counter = openCounter(late)
  counter.add('a'.repeat(100))
  const total = counter.total()
  counter.add('b'.repeat(1_000))
  // The pieces, of which the first holds what the total is asked for, are counted before it.
  for (const { text, answer } of waiting.splice(0).toReversed()) {
    answer(text.length)
    await nextTurn()
  }
  expect(await total).toBe(100)
})

test('the total does not wait for what is added meanwhile', async () => {
  const { held, answers } = heldTokenizer()
  const counter = openCounter(held)
  counter.add('a'.repeat(512)) // a whole piece, and one that is not
  const total = counter.total()
  counter.add('b'.repeat(512))
  answers[0]?.()
  await nextTurn()
  answers.at(-1)?.() // the rest, asked for last
  expect([answers.length, await total]).toEqual([4, 2])
})
