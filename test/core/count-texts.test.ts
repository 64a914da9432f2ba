import { expect, test } from 'vitest'
import { countTexts } from '../../src/core/count-texts.ts'

/** A counter of letters that notes how it was asked. */
function lettersCounter() {
  const asked: string[] = []
  return {
    asked,
    counter: {
      count(text: string) {
        asked.push('one')
        return Promise.resolve(text.length)
      },
      countAll(texts: readonly string[]) {
        asked.push('all')
        return Promise.resolve(texts.join('').length)
      },
    },
  }
}

test('a few texts are counted one by one', async () => {
  const { asked, counter } = lettersCounter()
  expect(await countTexts(counter, ['ab', 'c'])).toBe(3)
  expect(asked).toEqual(['one', 'one'])
})

test('many texts are counted together', async () => {
  const { asked, counter } = lettersCounter()
  expect(
    await countTexts(
      counter,
      Array.from({ length: 33 }, () => 'ab'),
    ),
  ).toBe(66)
  expect(asked).toEqual(['all'])
})

test('a counter that counts one by one only is asked so', async () => {
  const { asked, counter } = lettersCounter()
  const texts = Array.from({ length: 33 }, () => 'ab')
  expect(await countTexts({ count: counter.count }, texts)).toBe(66)
  expect(asked).toHaveLength(33)
})
