import { describe, expect, test } from 'vitest'
import { fill, filledBytes, mouldOf, placesIn, probeOf, type Shape, shapeOf } from '../../src/core/shape.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const bytes = (text: string): Uint8Array => encoder.encode(text)

const event = (id: string, text: string): string => `{"id":"${id}","n":1,"delta":{"text":"${text}"}}`

function known(): Shape {
  const shape = shapeOf({ name: '', data: bytes(event('a', 'Hello')), text: 'Hello', unread: ['id'] })
  if (!shape) throw new Error('there is no shape')
  return shape
}

function differences(data: string): readonly string[] | undefined {
  const places = placesIn(known(), bytes(data))
  if (!places) return undefined
  const found: string[] = []
  for (let at = 0; at < places.length; at += 2)
    found.push(decoder.decode(bytes(data).subarray(places[at], places[at + 1])))
  return found
}

describe('the shape of an event', () => {
  test('is what is around its text and the members that nobody reads', () => {
    const { literals, textHole } = known()
    expect(literals.map((literal) => decoder.decode(literal))).toEqual(['{"id":"', '","n":1,"delta":{"text":"', '"}}'])
    expect(textHole).toBe(1)
  })

  test.each([
    ['no text', event('a', ''), ''],
    ['a text that is written with escapes', event('a', 'a\\nb'), 'a\nb'],
    ['a text that stands there twice', event('Hello', 'Hello'), 'Hello'],
    ['a text that is a name too', event('a', 'text'), 'text'],
    ['more bytes than are worth comparing', event('a', 'x'.repeat(5_000)), 'x'.repeat(5_000)],
  ])('is not known of one with %s', (_, data, text) => {
    expect(shapeOf({ name: '', data: bytes(data), text, unread: ['id'] })).toBeUndefined()
  })
})

describe('an event is like others', () => {
  test.each([
    ['with another text', event('a', 'x'), ['a', 'x']],
    ['with another id', event('bcd', 'x'), ['bcd', 'x']],
    ['with no text', event('a', ''), ['a', '']],
    ['with letters of several bytes', event('a', '你好 😀'), ['a', '你好 😀']],
  ])('%s', (_, data, found) => {
    expect(differences(data)).toEqual(found)
  })

  test.each([
    ['with an escape in its text', event('a', 'x\\"y')],
    ['with a control character in its text', event('a', 'x\ny')],
    ['whose text ends early and goes on as JSON', event('a', 'x","more":"y')],
    ['with another number', event('a', 'x').replace('1', '2')],
    ['with something after it', `${event('a', 'x')} `],
    ['that is cut short', event('a', 'x').slice(0, -1)],
    ['that is empty', ''],
  ])('but not one %s', (_, data) => {
    expect(differences(data)).toBeUndefined()
  })
})

describe('a mould', () => {
  const shape = known()
  const probe = probeOf(shape)

  function moulded(make: (data: string) => string, data: string): string | undefined {
    const mould = mouldOf(bytes(make(decoder.decode(probe.data))), probe.marks)
    const places = placesIn(shape, bytes(data))
    if (!mould || !places) return undefined
    const filled = new Uint8Array(filledBytes(mould, places))
    fill(filled, 0, { mould, data: bytes(data), places })
    return decoder.decode(filled)
  }

  test.each<[string, (data: string) => string]>([
    ['with a frame around the event', (data) => `data: ${data}\n\n`],
    ['without one of the places', (data) => data.replace(/"id":"[^"]*",/, '')],
    ['with another member', (data) => data.replace('"n":1', '"n":2,"model":"public"')],
  ])('%s gives what was made of every event', (_, make) => {
    expect(moulded(make, event('bcd', 'How are you?'))).toBe(make(event('bcd', 'How are you?')))
  })

  test('is not known where a place comes twice', () => {
    expect(moulded((data) => data + data, event('a', 'x'))).toBeUndefined()
  })

  test('is not known where the places come in another order', () => {
    const swapped = (data: string): string => data.split('","n":1,"delta":{"text":"').toReversed().join('|')
    expect(moulded(swapped, event('a', 'x'))).toBeUndefined()
  })
})
