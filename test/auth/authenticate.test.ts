import { describe, expect, test } from 'vitest'
import { createAuthenticator } from '../../src/auth/authenticate.ts'
import { GatewayError } from '../../src/core/errors.ts'
import type { KeyRow } from '../../src/ports.ts'
import { account, bearer, handClock, headers, key, mapBooks, plainCrypto, type MapBooks } from './books.ts'

const message =
  'The API key is missing, unknown, expired or revoked. Send a valid one as "Authorization: Bearer <key>".'
const invalid = { status: 401, code: 'invalid_api_key', type: 'authentication_error', message }

function open(keys: readonly KeyRow[] = [key({ id: 1 })], books: MapBooks = mapBooks(keys)) {
  const clock = handClock()
  return { books, clock, ...createAuthenticator({ books, crypto: plainCrypto(), clock }) }
}

async function refusal(work: Promise<unknown>): Promise<unknown> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!(error instanceof GatewayError)) return error
  return { status: error.status, code: error.code, type: error.type, message: error.message }
}

const master = key({
  id: 1,
  version: 3,
  models: ['a', 'b'],
  budgets: [{ limit: 5n, window: 'day' }],
  requestsPerMinute: 60,
  concurrency: 4,
})
const sub = key({ id: 2, kind: 'sub', parentId: 1, models: ['a'] })

describe('a caller', () => {
  test('is its key, every key above it, its account and all their limits', async () => {
    const books = mapBooks([master, sub], [account({ currency: 'EUR', discountPpm: 900_000 })])
    expect(await open([], books).caller(bearer('key-2'))).toEqual({
      accountId: 1,
      currency: 'EUR',
      discountPpm: 900_000,
      keyId: 2,
      publicId: 'p2',
      kind: 'sub',
      chain: [
        { id: 2, version: 1, budgets: [] },
        { id: 1, version: 3, budgets: [{ limit: 5n, window: 'day' }], requestsPerMinute: 60, concurrency: 4 },
      ],
      models: [['a'], ['a', 'b']],
    })
  })

  test.each([
    ['authorization', 'Bearer key-1'],
    ['authorization', 'bearer  key-1'],
    ['authorization', 'BEARER key-1'],
    ['x-api-key', 'key-1'],
    ['x-goog-api-key', 'key-1'],
    ['api-key', 'key-1'],
  ])('is known by %s: %s', async (name, value) => {
    expect((await open().caller(headers({ [name]: value }))).keyId).toBe(1)
  })

  test('may send the same key in two headers', async () => {
    const found = await open().caller(headers({ authorization: 'Bearer key-1', 'x-api-key': 'key-1', 'api-key': '' }))
    expect(found.keyId).toBe(1)
  })

  test.each<[string, Record<string, string>]>([
    ['no header', {}],
    ['a blank header', { authorization: ' ' }],
    ['a scheme alone', { authorization: 'Bearer' }],
    ['a blank token', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: 'Basic key-1' }],
    ['another scheme beside a valid key', { authorization: 'Basic abc', 'x-api-key': 'key-1' }],
    ['a key without a scheme', { authorization: 'key-1' }],
    ['two keys that differ', { authorization: 'Bearer key-1', 'x-api-key': 'key-2' }],
    ['SQL', { authorization: "Bearer ' OR '1'='1" }],
    ['an unknown key', { authorization: 'Bearer key-9' }],
    ['a NUL', { 'x-api-key': 'key-1\0' }],
    ['a line break inside', { 'x-api-key': 'key\r\n-1' }],
    ['letters outside ASCII', { 'x-api-key': 'këy-1' }],
    ['a key of a megabyte', { 'x-api-key': 'k'.repeat(1_048_576) }],
    ['another case', { 'x-api-key': 'KEY-1' }],
    ['two values joined', { authorization: 'Bearer key-1, Bearer key-1' }],
  ])('with %s is refused with the one 401', async (_what, values) => {
    expect(await refusal(open().caller(headers(values)))).toEqual(invalid)
  })

  test('may have a key of 512 bytes, and not of 513', async () => {
    const long = 'k'.repeat(512)
    const { caller, books } = open([key({ id: 1, hash: `hash of ${long}` })])
    expect((await caller(headers({ 'x-api-key': long }))).keyId).toBe(1)
    expect(await refusal(caller(headers({ 'x-api-key': `${long}k` })))).toEqual(invalid)
    expect(books.asked).toBe(1)
  })

  test.each<[string, KeyRow[]]>([
    ['is revoked', [key({ id: 2, kind: 'sub', parentId: 1, revokedAtMs: 1 }), key({ id: 1 })]],
    ['has expired', [key({ id: 2, kind: 'sub', parentId: 1, expiresAtMs: 1_000_000 }), key({ id: 1 })]],
    ['has a revoked parent', [key({ id: 2, kind: 'sub', parentId: 1 }), key({ id: 1, revokedAtMs: 1 })]],
    ['has an expired parent', [key({ id: 2, kind: 'sub', parentId: 1 }), key({ id: 1, expiresAtMs: 999_999 })]],
    ['has no parent any more', [key({ id: 2, kind: 'sub', parentId: 1 })]],
    ['has a parent of another account', [key({ id: 2, kind: 'sub', parentId: 1 }), key({ id: 1, accountId: 7 })]],
    ['has an account that is gone', [key({ id: 2, accountId: 9 })]],
  ])('whose key %s is refused with the one 401', async (_what, keys) => {
    expect(await refusal(open(keys).caller(bearer('key-2')))).toEqual(invalid)
  })

  test('is let in until the moment at which the key expires', async () => {
    const { caller, clock } = open([key({ id: 1, expiresAtMs: 1_000_001 })])
    expect((await caller(bearer('key-1'))).keyId).toBe(1)
    clock.nowMs += 1
    expect(await refusal(caller(bearer('key-1')))).toEqual(invalid)
  })

  test('of a closed account is refused with 403', async () => {
    const { caller } = open([], mapBooks([key({ id: 1 })], [account({ status: 'closed' })]))
    expect(await refusal(caller(bearer('key-1')))).toEqual({
      status: 403,
      code: 'permission_denied',
      type: 'permission_error',
      message: 'The account of this key is closed.',
    })
  })

  test('may be the eighth key of a chain, and not the ninth', async () => {
    const below = Array.from({ length: 8 }, (_, n) => key({ id: n + 2, kind: 'sub', parentId: n + 1 }))
    const { caller } = open([key({ id: 1 }), ...below])
    expect((await caller(bearer('key-8'))).chain).toHaveLength(8)
    expect(await refusal(caller(bearer('key-9')))).toEqual(invalid)
  })

  test('is never a management key', async () => {
    const { caller } = open([key({ id: 1, kind: 'management', accountId: undefined })])
    expect(await refusal(caller(bearer('key-1')))).toEqual({
      status: 403,
      code: 'permission_denied',
      type: 'permission_error',
      message: 'A management key cannot call models. Use a master key or a sub-key.',
    })
  })

  test('gets 503 while the books do not answer', async () => {
    const books = { ...mapBooks([]), findKey: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.1')) }
    expect(await refusal(open([], books).caller(bearer('key-1')))).toEqual({
      status: 503,
      code: 'billing_unavailable',
      type: 'server_error',
      message: 'The key cannot be checked at the moment. Try again.',
    })
  })
})

describe('what is remembered', () => {
  test('is a known key, for five seconds', async () => {
    const { caller, books, clock } = open()
    for (const wait of [0, 0, 4_999, 1]) {
      clock.nowMs += wait
      await caller(bearer('key-1'))
    }
    expect(books.asked).toBe(2)
  })

  test('is an unknown key, for one second', async () => {
    const { caller, books, clock } = open([])
    for (const wait of [0, 999]) {
      clock.nowMs += wait
      await refusal(caller(bearer('key-1')))
    }
    expect(books.asked).toBe(1)
    books.keys.set('hash of key-1', key({ id: 1 }))
    clock.nowMs += 1
    expect((await caller(bearer('key-1'))).keyId).toBe(1)
  })

  test('is not a key that was changed here: revoking works at once', async () => {
    const { caller, books, forget } = open()
    await caller(bearer('key-1'))
    books.keys.set('hash of key-1', key({ id: 1, revokedAtMs: 5 }))
    forget(1)
    expect(await refusal(caller(bearer('key-1')))).toEqual(invalid)
  })

  test('is not a key below one that was changed', async () => {
    const { caller, books, forget } = open([master, sub, key({ id: 3 })])
    for (const name of ['key-2', 'key-3']) await caller(bearer(name))
    forget(1)
    for (const name of ['key-2', 'key-3']) await caller(bearer(name))
    expect(books.asked).toBe(3)
  })

  test('is not an answer that was under way while the key changed', async () => {
    const books = mapBooks([key({ id: 1 })])
    const { promise: wait, resolve: go } = Promise.withResolvers<void>()
    const slow: MapBooks = {
      ...books,
      async findKey(hash) {
        const answer = await books.findKey(hash)
        await wait
        return answer
      },
    }
    const { caller, forget } = open([], slow)
    const first = caller(bearer('key-1'))
    books.keys.set('hash of key-1', key({ id: 1, revokedAtMs: 5 }))
    forget(1)
    go()
    await first
    expect(await refusal(caller(bearer('key-1')))).toEqual(invalid)
  })

  test('is not a key that came to be known as missing before it was made', async () => {
    const { caller, books, forget } = open([])
    await refusal(caller(bearer('key-1')))
    books.keys.set('hash of key-1', key({ id: 1 }))
    forget(1)
    expect((await caller(bearer('key-1'))).keyId).toBe(1)
  })
})

describe('a manager', () => {
  test('is a management key, for everything', async () => {
    const { manager } = open([key({ id: 1, kind: 'management', accountId: undefined })])
    expect(await manager(bearer('key-1'))).toEqual({ kind: 'management', keyId: 1, publicId: 'p1' })
  })

  test('is any other key, for what is below it', async () => {
    expect(await open([master, sub]).manager(bearer('key-2'))).toEqual({
      kind: 'owner',
      keyId: 2,
      publicId: 'p2',
      accountId: 1,
      chain: [sub, master],
    })
  })

  test('is not a revoked key', async () => {
    expect(await refusal(open([key({ id: 1, revokedAtMs: 1 })]).manager(bearer('key-1')))).toEqual(invalid)
  })
})
