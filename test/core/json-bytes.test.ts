import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/core/errors.ts'
import { findMember, members, removeMembers, replaceValue, setMember, setNested } from '../../src/core/json-bytes.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (edited: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(edited)

test('members are listed with every offset, white space outside of names and values', () => {
  const source = '{ "a" : 1 ,"b":[2] }'
  expect(members(bytes(source))).toEqual([
    { name: 'a', start: 1, nameStart: 2, valueStart: 8, valueEnd: 9, end: 10 },
    { name: 'b', start: 11, nameStart: 11, valueStart: 15, valueEnd: 18, end: 19 },
  ])
})

test.for([
  ['{}', []],
  [' {\r\n\t} ', []],
  ['\uFEFF{"a":1}', ['a']],
  ['{"mod\\u0065l":1}', ['model']],
  ['{"\uFEFFmodel":1}', ['\uFEFFmodel']],
  ['{"a\\"b":1,"c\\\\":2,"d\\\\\\"":3}', ['a"b', 'c\\', 'd\\"']],
  ['{"a":1,"a":2,"":3,"":4}', ['a', 'a', '', '']],
  ['{"__proto__":1,"中":2,"😀":3,"\\ud800":4}', ['__proto__', '中', '😀', '\ud800']],
  [
    '{"a":"}\\",\\"x\\":","b":{"c":"]}"},"d":[[{"e":1}],"}"],"f":-1.5e+3,"g":true,"h":null}',
    ['a', 'b', 'd', 'f', 'g', 'h'],
  ],
] as const)('%s has the members %j', ([source, names]) => {
  expect(members(bytes(source)).map((member) => member.name)).toEqual(names)
})

test.for([
  '',
  ' ',
  '[]',
  '1',
  '{',
  '{"a"',
  '{"a":',
  '{"a":}',
  '{"a":1',
  '{"a":1,}',
  '{"a" 1}',
  '{a:1}',
  '{"a":"1}',
  '{"a":[1}',
  '{"a":1 2}',
  '{"\\x":1}',
])('%j is a RangeError', (source) => {
  expect(() => members(bytes(source))).toThrow(RangeError)
})

test('half a million levels of nesting are one value', () => {
  const deep = `${'['.repeat(500_000)}${']'.repeat(500_000)}`
  expect(text(removeMembers(bytes(`{"a":${deep},"b":1}`), ['a']))).toBe('{"b":1}')
})

const many = (count: number) => bytes(`{${'"a":1,'.repeat(count - 1)}"b":2}`)

test('an object may have 10,000 members', () => {
  expect(members(many(10_000))).toHaveLength(10_000)
})

test('an object with 10,001 members is refused', () => {
  expect(() => members(many(10_001))).toThrow(GatewayError)
})

test('a search stops at its hit', () => {
  expect(findMember(bytes('{"a":1,"b":2,broken'), 'b')).toMatchObject({ name: 'b', valueStart: 11, valueEnd: 12 })
})

test('a search without a hit is undefined', () => {
  expect(findMember(bytes('{"a":{"b":1}}'), 'b')).toBeUndefined()
})

test('a value is replaced in every duplicate, the names stay as they were spelled', () => {
  expect(text(replaceValue(bytes('{"model" : "x","n":1.0,"mod\\u0065l":"y"}'), 'model', bytes('"z"')))).toBe(
    '{"model" : "z","n":1.0,"mod\\u0065l":"z"}',
  )
})

test('nothing to edit gives the same bytes back', () => {
  const source = bytes('{"a":1}')
  expect([replaceValue(source, 'b', bytes('2')), removeMembers(source, ['b'])]).toEqual([source, source])
})

test.for([
  ['{"a":1}', ['a'], '{}'],
  ['{ "a" : 1 }', ['a'], '{}'],
  ['{"a":1,"b":2,"c":3}', ['a'], '{"b":2,"c":3}'],
  ['{"a":1,"b":2,"c":3}', ['b'], '{"a":1,"c":3}'],
  ['{"a":1,"b":2,"c":3}', ['c'], '{"a":1,"b":2}'],
  ['{"a":1,"b":2,"c":3}', ['a', 'b'], '{"c":3}'],
  ['{"a":1,"b":2,"c":3}', ['b', 'c'], '{"a":1}'],
  ['{"a":1,"b":2,"c":3}', ['a', 'c'], '{"b":2}'],
  ['{"a":1,"b":2,"c":3}', ['c', 'b', 'a'], '{}'],
  ['{"a":1,"b":2,"a":3}', ['a'], '{"b":2}'],
  ['{ "a" : 1 , "b" : 2 , "c" : 3 }', ['b'], '{ "a" : 1 , "c" : 3 }'],
] as const)('%s without %j is %s', ([source, names, left]) => {
  expect(text(removeMembers(bytes(source), names))).toBe(left)
})

test.for([
  ['{}', '{"b":9}'],
  ['{ }', '{"b":9 }'],
  ['{"a":1}', '{"a":1,"b":9}'],
  ['{ "a": 1\n}', '{ "a": 1,"b":9\n}'],
  ['{"b":1}', '{"b":9}'],
  ['{"b":1,"a":2,"b":3}', '{"a":2,"b":9}'],
  ['{"b":1, "b" : {"x":[]} , "a":2}', '{ "b" : 9 , "a":2}'],
  ['\uFEFF {}', '\uFEFF {"b":9}'],
] as const)('%s with "b" set is %s', ([source, edited]) => {
  expect(text(setMember(bytes(source), 'b', bytes('9')))).toBe(edited)
})

test('a new name is written with its escapes', () => {
  expect(text(setMember(bytes('{}'), 'a"\n\ud800', bytes('1')))).toBe('{"a\\"\\n\\ud800":1}')
})

describe('a nested member', () => {
  const nested = (source: string) => text(setNested(bytes(source), ['stream_options', 'include_usage'], bytes('true')))

  test.for([
    ['{"a":1}', '{"a":1,"stream_options":{"include_usage":true}}'],
    ['{"stream_options":null,"a":1}', '{"stream_options":{"include_usage":true},"a":1}'],
    ['{"stream_options": { } }', '{"stream_options": {"include_usage":true } }'],
    ['{"stream_options":{"x":1.0}}', '{"stream_options":{"x":1.0,"include_usage":true}}'],
    ['{"stream_options":{"include_usage":false,"x":{}}}', '{"stream_options":{"include_usage":true,"x":{}}}'],
    ['{"stream_options":{"x":1},"stream_options":{"y":2}}', '{"stream_options":{"y":2,"include_usage":true}}'],
  ] as const)('in %s gives %s', ([source, edited]) => {
    expect(nested(source)).toBe(edited)
  })

  test.for(['1', '"null"', '[]', 'true'])('of the value %s is a RangeError', (value) => {
    expect(() => nested(`{"stream_options":${value}}`)).toThrow(RangeError)
  })
})

interface Written {
  readonly name: string
  readonly text: string
}

const names = ['model', 'stream', 'a', '', '\uFEFFa', 'q"\\', '中😀', '__proto__', '\ud800']
const blank = fc.stringMatching(/^[ \n\r\t]{0,3}$/)
const value = fc.oneof(
  fc.json({ maxDepth: 3, stringUnit: fc.string({ unit: 'binary', maxLength: 4 }) }),
  fc.constantFrom(
    '1.50',
    '-0',
    '1e400',
    '"\\u0022}\\\\"',
    '"\\\\\\""',
    '[ ]',
    '{ "a" : [ "}" ] }',
    '12345678901234567890',
    'null',
  ),
)

/** Spells some characters of a name as escapes. */
function spell(name: string, escaped: readonly boolean[]): string {
  const units = Array.from(name, (character, index) => {
    if (!escaped[index % escaped.length]) return JSON.stringify(character).slice(1, -1)
    return character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join('')
  })
  return `"${units.join('')}"`
}

const written: fc.Arbitrary<Written> = fc
  .tuple(
    fc.constantFrom(...names),
    fc.array(fc.boolean(), { minLength: 1, maxLength: 3 }),
    value,
    fc.tuple(blank, blank, blank, blank),
  )
  .map(([name, escaped, val, [a, b, c, d]]) => ({ name, text: `${a}${spell(name, escaped)}${b}:${c}${val}${d}` }))

const object = fc.tuple(fc.array(written, { maxLength: 7 }), blank, blank).map(([all, before, after]) => ({
  written: all,
  source: `${before}{${all.length > 0 ? all.map((member) => member.text).join(',') : after}}${after}`,
}))

/** The members of a parsed object by name; a Map, because `__proto__` is a name like any other. */
const parsed = (source: string) => new Map<string, unknown>(Object.entries(JSON.parse(source)))

/** The texts of the members that an edit should not have touched. */
const untouched = (edited: Uint8Array, touched: readonly string[]) =>
  members(edited)
    .filter((member) => !touched.includes(member.name))
    .map((member) => text(edited.subarray(member.nameStart, member.valueEnd)))

const originals = (all: readonly Written[], touched: readonly string[]) =>
  all
    .filter((member) => !touched.includes(member.name))
    .map((member) => member.text.replace(/^[ \n\r\t]+|[ \n\r\t]+$/g, ''))

describe('for any object', () => {
  test('the members are those that were written', () => {
    fc.assert(
      fc.property(object, ({ written: all, source }) => {
        expect(members(bytes(source)).map((member) => member.name)).toEqual(all.map((member) => member.name))
        expect(untouched(bytes(source), [])).toEqual(originals(all, []))
      }),
    )
  })

  test('removing equals deleting from the parsed object', () => {
    fc.assert(
      fc.property(object, fc.subarray(names), ({ written: all, source }, gone) => {
        const edited = removeMembers(bytes(source), gone)
        const expected = parsed(source)
        for (const name of gone) expected.delete(name)
        expect(parsed(text(edited))).toEqual(expected)
        expect(untouched(edited, [])).toEqual(originals(all, gone))
      }),
    )
  })

  test('setting equals setting in the parsed object, and leaves one member of the name', () => {
    fc.assert(
      fc.property(object, fc.constantFrom(...names), value, ({ written: all, source }, name, val) => {
        const edited = setMember(bytes(source), name, bytes(val))
        expect(parsed(text(edited))).toEqual(parsed(source).set(name, JSON.parse(val)))
        expect(untouched(edited, [name])).toEqual(originals(all, [name]))
        expect(members(edited).filter((member) => member.name === name)).toHaveLength(1)
      }),
    )
  })

  test('replacing changes the value where the name is, and nothing where it is not', () => {
    fc.assert(
      fc.property(object, fc.constantFrom(...names), value, ({ written: all, source }, name, val) => {
        const edited = replaceValue(bytes(source), name, bytes(val))
        const expected = parsed(source)
        if (expected.has(name)) expected.set(name, JSON.parse(val))
        expect(parsed(text(edited))).toEqual(expected)
        expect(untouched(edited, [name])).toEqual(originals(all, [name]))
      }),
    )
  })

  test('a nested member is set within the object that JSON.parse sees', () => {
    const outer = fc.record({ around: object, inside: object, null: fc.boolean() })
    fc.assert(
      fc.property(outer, fc.constantFrom(...names), ({ around, inside, null: isNull }, name) => {
        const source = text(setMember(bytes(around.source), 'outer', bytes(isNull ? 'null' : inside.source.trim())))
        const edited = setNested(bytes(source), ['outer', name], bytes('[1]'))
        const at = findMember(edited, 'outer')
        const within = text(edited.subarray(at?.valueStart, at?.valueEnd))
        expect(parsed(within)).toEqual((isNull ? new Map() : parsed(inside.source)).set(name, [1]))
        expect(untouched(edited, ['outer'])).toEqual(originals(around.written, []))
      }),
    )
  })
})
