import { expect, test } from 'vitest'
import { onceFor, onceForLasting } from '../../src/core/once-for.ts'

test('something is made of an object once, whoever asks, and of every object its own', () => {
  let made = 0
  const lengthOf = onceFor((text: { readonly value: string }) => ({ length: text.value.length, number: ++made }))
  const [one, other] = [{ value: 'one' }, { value: 'other' }]
  expect([lengthOf(one), lengthOf(other), lengthOf(one)]).toEqual([
    { length: 3, number: 1 },
    { length: 5, number: 2 },
    { length: 3, number: 1 },
  ])
})

test('what is made is not seen in the object, and a changed copy has its own', () => {
  const lengthOf = onceFor((text: { readonly value: string }) => ({ length: text.value.length }))
  const text = { value: 'one' }
  lengthOf(text)
  expect([Reflect.ownKeys({ ...text }), JSON.stringify(text), lengthOf({ ...text, value: 'longer' })]).toEqual([
    ['value'],
    '{"value":"one"}',
    { length: 6 },
  ])
})

test('two things that are made of one object do not meet', () => {
  const [first, second] = [onceFor(() => ({ is: 'first' })), onceFor(() => ({ is: 'second' }))]
  const bytes = new Uint8Array(3)
  expect([first(bytes), second(bytes), first(bytes)]).toEqual([{ is: 'first' }, { is: 'second' }, { is: 'first' }])
})

test('of what lasts, frozen or not, something is made once, and of every object its own', () => {
  let made = 0
  const numberOf = onceForLasting((_: object) => ++made)
  const [one, other] = [Object.freeze({}), {}]
  expect([numberOf(one), numberOf(other), numberOf(one), numberOf(other)]).toEqual([1, 2, 1, 2])
})
