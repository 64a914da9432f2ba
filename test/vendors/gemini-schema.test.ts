import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { geminiSchema } from '../../src/vendors/gemini-schema.ts'

const convert = (schema: unknown) => geminiSchema(schema as Json, 'tools[0].function.parameters')
const text = { type: 'STRING' }
const number = { type: 'NUMBER' }

/** Everything that Google's Schema knows. */
const known = new Set([
  'type',
  'format',
  'title',
  'description',
  'nullable',
  'enum',
  'items',
  'minItems',
  'maxItems',
  'properties',
  'required',
  'propertyOrdering',
  'minProperties',
  'maxProperties',
  'minLength',
  'maxLength',
  'pattern',
  'minimum',
  'maximum',
  'anyOf',
])

/** Keywords of a converted schema that Google would answer with 400, and schemas without a type. */
function faults(schema: Json | undefined): readonly string[] {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return ['no schema']
  const own = schema as JsonObject
  const names = Object.keys(own)
  const unknown = names.filter((name) => !known.has(name))
  const properties = Object.values((own['properties'] ?? {}) as JsonObject).flatMap(faults)
  const variants = ((own['anyOf'] ?? []) as readonly Json[]).flatMap(faults)
  const items = own['type'] === 'ARRAY' ? faults(own['items']) : []
  const untyped = own['type'] === undefined && own['anyOf'] === undefined ? ['no type'] : []
  const crowded = own['anyOf'] !== undefined && names.length > 1 ? ['beside anyOf'] : []
  return [...unknown, ...untyped, ...crowded, ...properties, ...variants, ...items]
}

describe('a schema for Gemini', () => {
  test.each<[string, unknown, unknown]>([
    ['a text', { type: 'string', minLength: 1, pattern: 'a' }, { type: 'STRING', minLength: 1, pattern: 'a' }],
    ['an unknown format', { type: 'string', format: 'uri' }, text],
    ['a known format', { type: 'string', format: 'date-time' }, { type: 'STRING', format: 'date-time' }],
    ['listed words', { enum: ['a', 'b'] }, { type: 'STRING', enum: ['a', 'b'] }],
    ['one word', { const: 'a' }, { type: 'STRING', enum: ['a'] }],
    ['listed numbers', { type: 'integer', enum: [1, 2] }, { type: 'INTEGER', description: 'One of: 1, 2.' }],
    ['a border that is not reached', { type: 'integer', exclusiveMinimum: 0 }, { type: 'INTEGER', minimum: 1 }],
    ['null as another type', { type: ['string', 'null'] }, { type: 'STRING', nullable: true }],
    ['null as a variant', { anyOf: [{ type: 'number' }, { type: 'null' }] }, { type: 'NUMBER', nullable: true }],
    ['several types', { type: ['string', 'number'] }, { anyOf: [text, number] }],
    ['variants', { oneOf: [{ type: 'string' }, { type: 'number' }] }, { anyOf: [text, number] }],
    ['variants that are words', { anyOf: [{ const: 'a' }, { const: 'b' }] }, { type: 'STRING', enum: ['a', 'b'] }],
    [
      'a description of variants',
      { description: 'D', anyOf: [{ type: 'string' }, { type: 'number', description: 'N' }] },
      {
        anyOf: [
          { ...text, description: 'D' },
          { ...number, description: 'N' },
        ],
      },
    ],
    ['variants that only narrow', { type: 'object', anyOf: [{ required: ['a'] }] }, { type: 'OBJECT' }],
    ['a list of anything', { type: 'array' }, { type: 'ARRAY', items: text }],
    [
      'a tuple',
      { prefixItems: [{ type: 'string' }, { type: 'number' }] },
      { type: 'ARRAY', items: { anyOf: [text, number] } },
    ],
    ['anything', {}, text],
    ['true', true, text],
    ['a map', { type: 'object', additionalProperties: { type: 'string' } }, { type: 'OBJECT' }],
  ])('says %s in its own words', (_, schema, wanted) => {
    expect(convert(schema)).toEqual(wanted)
  })

  test('keeps properties that are named like keywords, their order, and what is required of them', () => {
    const properties = { $ref: { type: 'string' }, additionalProperties: { type: 'number' }, type: { const: 'x' } }
    expect(convert({ $schema: 's', type: 'object', properties, required: ['type', 'none'], $defs: {} })).toEqual({
      type: 'OBJECT',
      properties: { $ref: text, additionalProperties: number, type: { type: 'STRING', enum: ['x'] } },
      required: ['type'],
      propertyOrdering: ['$ref', 'additionalProperties', 'type'],
    })
  })

  test('has what its references point to', () => {
    const $defs = { 'a/b': { type: 'string', description: 'old' } }
    const properties = { x: { $ref: '#/$defs/a~1b', description: 'new' }, y: { $ref: '#/$defs/a%7E1b' } }
    expect(convert({ type: 'object', properties, $defs })['properties']).toEqual({
      x: { ...text, description: 'new' },
      y: { ...text, description: 'old' },
    })
  })

  test('that contains itself is open where it does so again', () => {
    const node = { type: 'object', properties: { next: { $ref: '#/$defs/node' } } }
    const open = { type: 'OBJECT', properties: { next: { type: 'OBJECT' } }, propertyOrdering: ['next'] }
    expect(convert({ $ref: '#/$defs/node', $defs: { node } })).toEqual(open)
  })

  test('puts together what must all hold', () => {
    const allOf = [
      { properties: { a: { type: 'string' } }, required: ['a'] },
      { properties: { b: { type: 'number' } }, required: ['b'] },
    ]
    expect(convert({ type: 'object', allOf })).toEqual({
      type: 'OBJECT',
      properties: { a: text, b: number },
      required: ['a', 'b'],
      propertyOrdering: ['a', 'b'],
    })
  })

  test.each([
    ['that points out of itself', { $ref: 'https://else.test/schema' }],
    ['that points nowhere', { $ref: '#/$defs/none' }],
    ['that points into a prototype', { $ref: '#/constructor' }],
  ])('%s is refused under the name of its parameter', (_, schema) => {
    expect(() => convert(schema)).toThrow(expect.objectContaining({ param: 'tools[0].function.parameters' }))
  })

  test('whose references multiply is refused', () => {
    const levels = Array.from({ length: 20 }, (_, level) => {
      const next = { $ref: `#/$defs/d${level + 1}` }
      return [`d${level}`, { type: 'object', properties: { a: next, b: next } }] as const
    })
    const $defs = Object.fromEntries([...levels, ['d20', { type: 'string' }]])
    expect(() => convert({ $ref: '#/$defs/d0', $defs })).toThrow('more than 5000 parts')
  })

  test('has nothing in it that Gemini does not know, whatever it was made of', () => {
    const keyword = fc.constantFrom(
      'type',
      'properties',
      'items',
      'anyOf',
      'oneOf',
      'allOf',
      'enum',
      'const',
      '$ref',
      '$defs',
      'required',
      'additionalProperties',
      'prefixItems',
      'format',
      'description',
      'not',
      'if',
      'minimum',
      'uniqueItems',
    )
    const leaf = fc.oneof(
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom('string', 'object', 'array', 'integer', 'null', '#', '#/$defs/a', '#/properties/a'),
    )
    const { schema } = fc.letrec<{ schema: unknown; object: unknown; list: unknown }>((tie) => ({
      schema: fc.oneof({ maxDepth: 5 }, leaf, tie('object'), tie('list')),
      object: fc.dictionary(fc.oneof(keyword, fc.constantFrom('a', '__proto__')), tie('schema'), { maxKeys: 5 }),
      list: fc.array(tie('schema'), { maxLength: 3 }),
    }))
    fc.assert(
      fc.property(schema, (value) => {
        try {
          expect(faults(convert(value))).toEqual([])
        } catch (error) {
          if (!(error instanceof GatewayError)) throw error
        }
      }),
      { numRuns: 2_000 },
    )
  })
})
