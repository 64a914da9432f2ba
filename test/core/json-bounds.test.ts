import { expect, test } from 'vitest'
import { checkBounds, maxDepth, maxMembers } from '../../src/core/json-bounds.ts'

const check = (text: string) => () => checkBounds(new TextEncoder().encode(text))

test('the deepest text that is let in has 64 levels', () => {
  expect(check('['.repeat(maxDepth) + ']'.repeat(maxDepth))).not.toThrow()
})

test('a text of 65 levels is refused', () => {
  expect(check('['.repeat(maxDepth + 1))).toThrow('The body nests deeper than 64 levels.')
})

test('brackets, colons and quotes inside a string do not count', () => {
  expect(check(JSON.stringify({ text: `"${'[{:,\\"'.repeat(200_000)}` }))).not.toThrow()
})

test('lists and objects side by side are not deep', () => {
  expect(check(`[${'[{}],'.repeat(10_000)}1]`)).not.toThrow()
})

test('one member more than allowed is refused', () => {
  expect(check(`{${'"a":1,'.repeat(maxMembers)}"b":1}`)).toThrow('The body has more than 100000 members.')
})

test('a string of backslashes without an end is read once', () => {
  expect(check(`"${'\\'.repeat(1_000_000)}`)).not.toThrow()
})
