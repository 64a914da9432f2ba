import { expect, test } from 'vitest'
import { adapterOf, addresses } from '../../src/vendors/addresses.ts'
import { vendors } from '../../src/vendors/index.ts'

test('every adapter has an address, and every address an adapter', () => {
  expect(Object.keys(addresses).toSorted()).toEqual([...vendors.keys()].toSorted())
})

test('a vendor has the adapter that it names, else the one of its own name, else the plainest', () => {
  expect([adapterOf('qwen', 'doubao'), adapterOf('qwen', undefined), adapterOf('constructor', undefined)]).toEqual([
    'doubao',
    'qwen',
    'openai',
  ])
})
