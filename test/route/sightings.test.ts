import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '../../src/core/call.ts'
import { parkReasons, readSighting, type Sighting } from '../../src/route/sightings.ts'

const name = fc.string({ minLength: 1, maxLength: 40 }).filter((text) => text.isWellFormed())
const forMs = fc.nat(1_800_000)
const ofKey = { vendor: name, key: name, mark: name }
const sighting: fc.Arbitrary<Sighting> = fc.oneof(
  fc.record({
    kind: fc.constant('key_parked' as const),
    ...ofKey,
    reason: fc.constantFrom(...parkReasons),
    status: fc.integer({ min: 0, max: 599 }),
    forMs,
    again: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('key_works' as const), ...ofKey }),
  fc.record({ kind: fc.constant('key_busy' as const), ...ofKey, model: name, forMs }),
  fc.record({ kind: fc.constant('circuit_open' as const), target: name, forMs }),
  fc.record({ kind: fc.constant('circuit_closed' as const), target: name }),
  fc.record({ kind: fc.constant('rated' as const), target: name, score: fc.double({ min: 0, max: 1, noNaN: true }) }),
)

describe('a sighting', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(sighting, (one) => {
        const text = JSON.stringify(one)
        // JSON knows no negative zero.
        expect(JSON.stringify(readSighting(JSON.parse(text) as Json))).toBe(text)
      }),
    )
  })

  test('of which a field is missing is none', () => {
    fc.assert(
      fc.property(sighting, fc.nat(10), (one, at) => {
        const fields = Object.keys(one).filter((field) => field !== 'again')
        const gone = fields[at % fields.length] ?? ''
        expect(readSighting({ ...one, [gone]: undefined })).toBeUndefined()
      }),
    )
  })

  test.each([
    undefined,
    null,
    'nothing',
    [],
    { kind: 'circuit_open', target: 'v/m', forMs: -1 },
    { kind: 'circuit_open', target: 'v/m', forMs: 1e300 },
    { kind: 'rated', target: 'v/m', score: 2 },
    { kind: 'key_parked', vendor: 'v', key: 'k', mark: 'm', reason: 'bored', status: 401, forMs: 1 },
    { kind: 'circuit_closed', target: 'x'.repeat(600) },
  ])('is not read from %j', (body) => {
    expect(readSighting(body)).toBeUndefined()
  })
})
