import { expect, test } from 'vitest'
import { isDriverFault } from '../../src/platform/postgres.ts'

/** As Node prints it where the driver writes on a connection that is gone. */
const stack = `TypeError: Cannot read properties of null (reading 'write')
    at Immediate.nextWrite [as _onImmediate] (file:///app/node_modules/postgres/src/connection.js:255:22)
    at process.processImmediate (node:internal/timers:505:21)`

const withStack = (error: Error, text: string): Error => Object.assign(error, { stack: text })

test("a write of the driver's own on a closed connection is its fault", () => {
  expect(isDriverFault(withStack(new TypeError('null'), stack))).toBe(true)
})

test.each<[string, unknown]>([
  [
    'a fault of ours',
    withStack(new TypeError('null'), 'TypeError: null\n    at pump (file:///app/src/meter/relay.ts:1:1)'),
  ],
  ['an error of another kind', withStack(new Error('null'), stack)],
  ['no error at all', 'nextWrite in /postgres/'],
])('%s is none', (_, error) => {
  expect(isDriverFault(error)).toBe(false)
})
