import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { apiKey } from '../../src/db/schema.ts'
import { bearer } from '../auth/books.ts'
import { noonMs, openOffice, type Body, type Office } from './office.ts'

const path = '/admin/v1/keys'
const later = '2030-06-01T00:00:00Z'
let office: Office
let account: number

beforeAll(async () => {
  office = await openOffice()
}, 120_000)
afterAll(() => office.close())
beforeEach(async () => {
  office.clock.nowMs = noonMs
  account = (await office.books.createAccount({ name: 'acme', currency: 'USD' })).id
  office.changes.length = 0
})

interface Made {
  readonly id: string
  readonly key: string
}

/** Makes a key and expects that to work. */
async function make(body: Body, by?: string): Promise<Made> {
  const answer = await office.ask('POST', path, { body, ...(by !== undefined && { key: by }) })
  expect([answer.status, answer.body['code'], answer.body['message']]).toEqual([201, undefined, undefined])
  return { id: String(answer.body['id']), key: String(answer.body['key']) }
}

const master = (body: Body = {}): Promise<Made> => make({ account, ...body })
const get = async (id: string, key?: string): Promise<Body> =>
  (await office.ask('GET', `${path}/${id}`, key === undefined ? {} : { key })).body

async function idsFor(key: string): Promise<unknown> {
  const { body } = await office.ask('GET', path, { key })
  return (body['data'] as Body[]).map(({ id }) => id)
}

async function rowOf(id: string) {
  const [row] = await office.database.drizzle.select().from(apiKey).where(eq(apiKey.publicId, id))
  return row
}

describe('a management key', () => {
  test('makes a master key, whole', async () => {
    const body = {
      account,
      name: 'app',
      models: ['a', 'b', 'a'],
      expires_at: '2030-06-01T02:00:00+02:00',
      budgets: [{ limit: '5.00', window: 'day' }],
      requests_per_minute: 60,
      limits: [{ of: 'tokens', window: 'day', limit: 1_000 }],
      concurrency: 4,
      routing: { strategy: 'score', weights: { cost: 1, quality: 2 } },
    }
    const answer = await office.ask('POST', path, { body })
    const { id, key, ...rest } = answer.body
    expect([answer.status, rest]).toEqual([
      201,
      {
        object: 'key',
        kind: 'master',
        account,
        parent: null,
        name: 'app',
        models: ['a', 'b'],
        budgets: [{ limit: '5', window: 'day' }],
        requests_per_minute: 60,
        limits: [{ of: 'tokens', window: 'day', algorithm: 'token_bucket', limit: 1_000 }],
        concurrency: 4,
        routing: { strategy: 'score', weights: { cost: 1, performance: 0, quality: 2 } },
        expires_at: '2030-06-01T00:00:00.000Z',
        revoked_at: null,
        version: 1,
        provisioned: false,
        created_at: '2030-01-01T12:00:00.000Z',
      },
    ])
    expect([/^[A-Za-z0-9]{12}$/.test(String(id)), String(key).replace(/[A-Za-z0-9]{40}$/, 'SECRET')]).toEqual([
      true,
      `sk-tg-${String(id)}-SECRET`,
    ])
  })

  test('makes a key that works at once', async () => {
    const { key, id } = await master()
    expect((await office.auth.caller(bearer(key))).publicId).toBe(id)
  })

  test('gives a key its routing, which keys below it have until they say otherwise', async () => {
    const { key, id } = await master({ routing: { strategy: 'cost' } })
    const below = await office.ask('POST', path, { body: { kind: 'sub', parent: id } })
    const routingOf = async (secret: unknown) => (await office.auth.caller(bearer(String(secret)))).routing
    expect([await routingOf(key), await routingOf(below.body['key'])]).toEqual([
      { strategy: 'cost' },
      { strategy: 'cost' },
    ])
    const own = { weights: { cost: 0, performance: 1, quality: 0 } }
    await office.ask('PATCH', `${path}/${String(below.body['id'])}`, { body: { routing: own } })
    expect([await routingOf(key), await routingOf(below.body['key'])]).toEqual([{ strategy: 'cost' }, own])
    const { body } = await office.ask('PATCH', `${path}/${id}`, { body: { routing: null } })
    expect([body['routing'], await routingOf(key)]).toEqual([null, undefined])
  })

  test('makes a key that works even where it was just tried in vain', async () => {
    const { key, id } = await master()
    await office.database.drizzle.update(apiKey).set({ hash: 'elsewhere' }).where(eq(apiKey.publicId, id))
    office.auth.forget()
    await office.auth.caller(bearer(key)).catch(() => {})
    await office.database.drizzle
      .update(apiKey)
      .set({ hash: office.crypto.keyHash(key) })
      .where(eq(apiKey.publicId, id))
    await office.ask('PATCH', `${path}/${id}`, { body: { name: 'again' } })
    expect((await office.auth.caller(bearer(key))).publicId).toBe(id)
  })

  test('makes a sub-key of any key', async () => {
    const parent = await master()
    const child = await make({ parent: parent.id })
    const { kind, parent: above, account: payer } = await get(child.id)
    expect([kind, above, payer]).toEqual(['sub', parent.id, account])
  })

  test('makes a management key, which manages at once', async () => {
    const { key } = await make({ kind: 'management', name: 'second', expires_at: later })
    expect((await office.ask('GET', path, { key })).status).toBe(200)
  })

  test('sees every key, newest first', async () => {
    const first = await master()
    const second = await master()
    const { body } = await office.ask('GET', `${path}?account=${account}`)
    expect((body['data'] as Body[]).map(({ id }) => id)).toEqual([second.id, first.id])
  })

  test('cannot revoke itself', async () => {
    const own = await make({ kind: 'management' })
    expect(await office.refusal('DELETE', `${path}/${own.id}`, { key: own.key })).toEqual([
      409,
      'conflict',
      undefined,
      'A key cannot revoke itself: use another management key.',
    ])
  })

  test.each<[string, Body, string, string]>([
    ['a master key without an account', {}, 'account', 'account is needed for a master key.'],
    ['a master key of no account', { account: 999_999 }, 'account', 'account names no account.'],
    ['a sub-key without a parent', { kind: 'sub' }, 'parent', 'parent is needed for a sub-key.'],
    [
      'a management key with an account',
      { kind: 'management', account: 1 },
      'account',
      'account must be left out: a management key does not choose one.',
    ],
    [
      'a master key with a parent',
      { kind: 'master', account: 1, parent: 'x' },
      'parent',
      'parent must be left out: a master key has none.',
    ],
    [
      'a management key with a routing',
      { kind: 'management', routing: { strategy: 'cost' } },
      'routing',
      'routing has no meaning for a management key, which calls no models.',
    ],
    [
      'a management key with models',
      { kind: 'management', models: [] },
      'models',
      'models has no meaning for a management key, which calls no models.',
    ],
    ['a child of a management key', { parent: 'manager' }, 'parent', 'parent must be a master key or a sub-key.'],
  ])('cannot make %s', async (_what, body, param, message) => {
    expect(await office.refusal('POST', path, { body })).toEqual([400, 'invalid_value', param, message])
  })
})

describe('the secret of a key', () => {
  test('is in no other answer and not in the database', async () => {
    const { id, key } = await master()
    const answers = [
      await office.ask('GET', `${path}/${id}`),
      await office.ask('GET', path),
      await office.ask('PATCH', `${path}/${id}`, { body: { name: 'x' } }),
      await rowOf(id),
      await office.ask('DELETE', `${path}/${id}`),
    ]
    expect(JSON.stringify(answers)).not.toContain(key.slice(-40))
  })
})

describe('a master key', () => {
  test('makes children of itself', async () => {
    const own = await master()
    const child = await make({ name: 'team' }, own.key)
    const { kind, parent, account: payer, name } = await get(child.id, own.key)
    expect({ kind, parent, payer, name }).toEqual({ kind: 'sub', parent: own.id, payer: account, name: 'team' })
  })

  test('makes children of a descendant', async () => {
    const own = await master()
    const child = await make({}, own.key)
    const grandchild = await make({ parent: child.id }, own.key)
    expect((await get(grandchild.id, own.key))['parent']).toBe(child.id)
  })

  test('sees only what is below it, at any depth', async () => {
    const own = await master()
    const other = await master()
    const child = await make({}, own.key)
    const grandchild = await make({}, child.key)
    await make({}, other.key)
    expect([await idsFor(own.key), await idsFor(child.key)]).toEqual([[grandchild.id, child.id], [grandchild.id]])
  })

  test.each(['itself', 'its parent', 'a sibling', 'a key of another account', 'a management key', 'nothing'])(
    'finds no key in %s',
    async (what) => {
      const [top, stranger] = [await master(), await master()]
      const [own, sibling] = [await make({}, top.key), await make({}, top.key)]
      const ids: Record<string, string> = {
        itself: own.id,
        'its parent': top.id,
        'a sibling': sibling.id,
        'a key of another account': stranger.id,
        'a management key': 'manager',
        nothing: '%00%27',
      }
      const answers = await Promise.all(
        ['GET', 'PATCH', 'DELETE'].map((method) =>
          office.refusal(method, `${path}/${ids[what]}`, {
            key: own.key,
            ...(method === 'PATCH' && { body: { name: 'x' } }),
          }),
        ),
      )
      const notFound = [404, 'not_found', undefined, 'There is no key of this id that the caller may manage.']
      expect(answers).toEqual([notFound, notFound, notFound])
    },
  )

  test('cannot use a parent that is not below it', async () => {
    const [own, other] = [await master(), await master()]
    expect((await office.refusal('POST', path, { key: own.key, body: { parent: other.id } })).slice(0, 2)).toEqual([
      404,
      'not_found',
    ])
  })

  test.each<[string, Body, string, string]>([
    ['a master key', { kind: 'master' }, 'kind', 'Only a management key makes master keys.'],
    ['a management key', { kind: 'management' }, 'kind', 'Only a management key makes management keys.'],
    ['a key of an account of its choice', { account: 1 }, 'account', 'Only a management key chooses an account.'],
  ])('cannot make %s', async (_what, body, param, message) => {
    const own = await master()
    expect(await office.refusal('POST', path, { key: own.key, body })).toEqual([
      403,
      'permission_denied',
      param,
      message,
    ])
  })

  test('has at most seven keys below one another', async () => {
    let last = await master()
    for (let depth = 1; depth <= 7; depth += 1) last = await make({}, last.key)
    expect(await office.refusal('POST', path, { key: last.key, body: {} })).toEqual([
      400,
      'invalid_value',
      'parent',
      'parent has 7 keys above it already, which is the most.',
    ])
  })
})

describe('a sub-key never has more than the keys above it', () => {
  const bounds: Body = {
    models: ['a', 'b'],
    expires_at: later,
    budgets: [{ limit: '5', window: 'day' }],
    requests_per_minute: 60,
    concurrency: 4,
  }

  test('but may have as much', async () => {
    const own = await master(bounds)
    const child = await make(bounds, own.key)
    const { models, budgets, requests_per_minute: rate, concurrency } = await get(child.id)
    expect({ models, budgets, rate, concurrency }).toEqual({
      models: ['a', 'b'],
      budgets: bounds['budgets'],
      rate: 60,
      concurrency: 4,
    })
  })

  test.each<[string, Body, (parent: string) => string]>([
    ['models', { models: ['a', 'c'] }, (parent) => `models must not name "c", which key ${parent} may not use.`],
    ['models', { models: ['A'] }, (parent) => `models must not name "A", which key ${parent} may not use.`],
    [
      'expires_at',
      { expires_at: '2030-06-01T00:00:00.001Z' },
      (parent) => `expires_at must not be after 2030-06-01T00:00:00.000Z, when key ${parent} expires.`,
    ],
    [
      'budgets[0].limit',
      { budgets: [{ limit: '5.000000001', window: 'day' }] },
      (parent) => `budgets[0].limit must not be above 5, the budget of key ${parent}.`,
    ],
    [
      'requests_per_minute',
      { requests_per_minute: 61 },
      (parent) => `requests_per_minute must not be above 60, the limit of key ${parent}.`,
    ],
    ['concurrency', { concurrency: 5 }, (parent) => `concurrency must not be above 4, the limit of key ${parent}.`],
  ])('in %s: %j', async (param, body, message) => {
    const own = await master(bounds)
    const middle = await make({}, own.key)
    const child = await make({}, middle.key)
    const expected = [400, 'invalid_value', param, message(own.id)]
    expect([
      await office.refusal('POST', path, { key: middle.key, body }),
      await office.refusal('PATCH', `${path}/${child.id}`, { key: middle.key, body }),
      await office.refusal('POST', path, { body: { ...body, parent: middle.id } }),
    ]).toEqual([expected, expected, expected])
  })

  test('even where it has no limits of its own', async () => {
    const own = await master(bounds)
    const child = await make({}, own.key)
    const caller = await office.auth.caller(bearer(child.key))
    expect([caller.models, caller.chain[1]?.concurrency]).toEqual([[['a', 'b']], 4])
  })

  test('and may have a budget for a window in which its parent has none', async () => {
    const own = await master(bounds)
    const child = await make({ budgets: [{ limit: '900', window: 'month' }] }, own.key)
    expect((await get(child.id))['budgets']).toEqual([{ limit: '900', window: 'month' }])
  })

  test('and no life once its parent is revoked', async () => {
    const own = await master()
    await office.ask('DELETE', `${path}/${own.id}`)
    expect(await office.refusal('POST', path, { body: { parent: own.id } })).toEqual([
      409,
      'conflict',
      'parent',
      'The parent is revoked.',
    ])
  })
})

describe('a change', () => {
  test('sets what it names, takes away what it names as null, and raises the version', async () => {
    const { id } = await master({
      name: 'old',
      models: ['a'],
      requests_per_minute: 5,
      concurrency: 2,
      expires_at: later,
    })
    const { status, body } = await office.ask('PATCH', `${path}/${id}`, {
      body: { models: null, requests_per_minute: 7, expires_at: null, budgets: [{ limit: '0', window: 'total' }] },
    })
    const { name, models, requests_per_minute: rate, concurrency, expires_at: expiry, budgets, version } = body
    expect({ status, name, models, rate, concurrency, expiry, budgets, version }).toEqual({
      status: 200,
      name: 'old',
      models: null,
      rate: 7,
      concurrency: 2,
      expiry: null,
      budgets: [{ limit: '0', window: 'total' }],
      version: 2,
    })
  })

  test('binds the next call in this process', async () => {
    const { id, key } = await master()
    await office.auth.caller(bearer(key))
    await office.ask('PATCH', `${path}/${id}`, { body: { models: ['a'] } })
    expect((await office.auth.caller(bearer(key))).models).toEqual([['a']])
  })

  test('of nothing changes nothing', async () => {
    const { id } = await master()
    const { body } = await office.ask('PATCH', `${path}/${id}`, { body: {} })
    expect(body['version']).toBe(1)
  })

  test('of what a key is, is refused', async () => {
    const { id } = await master()
    const [status, code, param] = await office.refusal('PATCH', `${path}/${id}`, { body: { account: 2 } })
    expect([status, code, param]).toEqual([400, 'invalid_value', 'account'])
  })

  test('of a revoked key is refused', async () => {
    const { id } = await master()
    await office.ask('DELETE', `${path}/${id}`)
    expect(await office.refusal('PATCH', `${path}/${id}`, { body: { name: 'x' } })).toEqual([
      409,
      'conflict',
      undefined,
      'The key is revoked: make a new one.',
    ])
  })

  test.each(['PATCH', 'DELETE'])('by %s of a key from the configuration is refused', async (method) => {
    expect(await office.refusal(method, `${path}/manager`, method === 'PATCH' ? { body: { name: 'x' } } : {})).toEqual([
      409,
      'conflict',
      undefined,
      'The key comes from the configuration: change it there.',
    ])
  })

  test('is told, once it is made', async () => {
    const { id } = await master()
    const keyId = (await rowOf(id))?.id
    await office.ask('PATCH', `${path}/${id}`, { body: { name: 'x' } })
    await office.ask('DELETE', `${path}/${id}`)
    expect(office.changes).toEqual([keyId, keyId, keyId])
  })

  test('made by several at once is counted each time', async () => {
    const { id } = await master()
    await Promise.all(['a', 'b', 'c'].map((name) => office.ask('PATCH', `${path}/${id}`, { body: { name } })))
    expect((await get(id))['version']).toBe(4)
  })
})

describe('revoking', () => {
  test('ends a key and all below it at once', async () => {
    const own = await master()
    const child = await make({}, own.key)
    const grandchild = await make({}, child.key)
    for (const { key } of [own, child, grandchild]) await office.auth.caller(bearer(key))
    await office.ask('DELETE', `${path}/${child.id}`, { key: own.key })
    const outcomes = await Promise.allSettled(
      [own, child, grandchild].map(({ key }) => office.auth.caller(bearer(key))),
    )
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  })

  test('twice is the same as once', async () => {
    const { id } = await master()
    const first = await office.ask('DELETE', `${path}/${id}`)
    office.clock.nowMs += 60_000
    expect([await office.ask('DELETE', `${path}/${id}`), first.body['revoked_at'], first.body['version']]).toEqual([
      first,
      '2030-01-01T12:00:00.000Z',
      2,
    ])
  })
})

describe('a list', () => {
  test('comes in pages', async () => {
    const own = await master()
    const made = [await make({}, own.key), await make({}, own.key), await make({}, own.key)]
      .map(({ id }) => id)
      .toReversed()
    const first = await office.ask('GET', `${path}?limit=2`, { key: own.key })
    const second = await office.ask('GET', `${path}?limit=2&cursor=${String(first.body['next_cursor'])}`, {
      key: own.key,
    })
    const ids = [first, second].map(({ body }) => (body['data'] as Body[]).map(({ id }) => id))
    expect([ids, first.body['next_cursor'], second.body['next_cursor']]).toEqual([
      [made.slice(0, 2), made.slice(2)],
      made[1],
      null,
    ])
  })

  test.each([
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1e9', 'limit'],
    ['cursor=nobody', 'cursor'],
    ['cursor=%27%20or%201%3D1', 'cursor'],
    ['account=x', 'account'],
    ['sort=name', 'sort'],
    ['limit=1&limit=2', 'limit'],
  ])('with %s is refused', async (query, param) => {
    expect((await office.refusal('GET', `${path}?${query}`)).slice(0, 3)).toEqual([400, 'invalid_value', param])
  })

  test('may have 200 keys on a page', async () => {
    expect((await office.ask('GET', `${path}?limit=200`)).status).toBe(200)
  })

  test('does not go on from a key that its reader may not see', async () => {
    const [own, other] = [await master(), await master()]
    expect((await office.refusal('GET', `${path}?cursor=${other.id}`, { key: own.key })).slice(0, 3)).toEqual([
      400,
      'invalid_value',
      'cursor',
    ])
  })
})

describe('a body', () => {
  const rule = 'must be a decimal string from 0 to 1000000000 with at most nine decimals, such as "12.50".'
  test.each<[Body, string, string]>([
    [
      { colour: 'red' },
      'colour',
      'colour is not known here; known are: name, models, expires_at, budgets, requests_per_minute, limits, concurrency, routing, kind, account, parent.',
    ],
    [{ name: 5 }, 'name', 'name must be a string of 0 to 128 characters without line breaks.'],
    [{ name: 'a\nb' }, 'name', 'name must be a string of 0 to 128 characters without line breaks.'],
    [{ name: 'a\0b' }, 'name', 'name must be a string of 0 to 128 characters without line breaks.'],
    [{ name: '\ud800' }, 'name', 'name must be a string of 0 to 128 characters without line breaks.'],
    [{ name: 'x'.repeat(129) }, 'name', 'name must be a string of 0 to 128 characters without line breaks.'],
    [{ models: 'a' }, 'models', 'models must be a list of model names.'],
    [{ models: ['a b'] }, 'models[0]', 'models[0] must be the exact name of a model.'],
    [{ budgets: [{ limit: 5, window: 'day' }] }, 'budgets[0].limit', `budgets[0].limit ${rule}`],
    [{ budgets: [{ limit: '-1', window: 'day' }] }, 'budgets[0].limit', `budgets[0].limit ${rule}`],
    [{ budgets: [{ limit: '1e-30', window: 'day' }] }, 'budgets[0].limit', `budgets[0].limit ${rule}`],
    [{ budgets: [{ limit: '1000000000.1', window: 'day' }] }, 'budgets[0].limit', `budgets[0].limit ${rule}`],
    [
      { budgets: [{ limit: '1', window: 'year' }] },
      'budgets[0].window',
      'budgets[0].window must be one of: total, hour, day, week, month.',
    ],
    [
      { budgets: ['day', 'day'].map((window) => ({ limit: '1', window })) },
      'budgets',
      'budgets must hold at most one budget for each window.',
    ],
    [
      { requests_per_minute: 0 },
      'requests_per_minute',
      'requests_per_minute must be a whole number from 1 to 1000000.',
    ],
    [{ concurrency: 1_000_001 }, 'concurrency', 'concurrency must be a whole number from 1 to 1000000.'],
    [
      { routing: { weights: { cost: 0 } } },
      'routing.weights',
      'routing.weights must hold at least one weight above 0.',
    ],
    [
      { routing: { weights: { cost: 1.5 } } },
      'routing.weights.cost',
      'routing.weights.cost must be a whole number from 0 to 1000.',
    ],
    [
      { routing: { strategy: 'best' } },
      'routing.strategy',
      'routing.strategy must be one of: priority, score, cost, latency, quality, weighted, least-busy.',
    ],
    [{ concurrency: 1.5 }, 'concurrency', 'concurrency must be a whole number from 1 to 1000000.'],
    [{ expires_at: '2030-01-01T12:00:00Z' }, 'expires_at', 'expires_at must be in the future.'],
    [
      { expires_at: '2030-02-30T00:00:00Z' },
      'expires_at',
      'expires_at must be a moment in ISO 8601 with its offset, such as "2030-01-31T00:00:00Z".',
    ],
    [
      { expires_at: 'tomorrow' },
      'expires_at',
      'expires_at must be a moment in ISO 8601 with its offset, such as "2030-01-31T00:00:00Z".',
    ],
  ])('with %j is refused', async (body, param, message) => {
    expect(await office.refusal('POST', path, { body: { account, ...body } })).toEqual([
      400,
      'invalid_value',
      param,
      message,
    ])
  })

  test('tells all that is wrong with it', async () => {
    const { 3: message } = await office.refusal('POST', path, { body: { account, name: 1, concurrency: 0 } })
    expect(message).toBe(
      'name must be a string of 0 to 128 characters without line breaks. concurrency must be a whole number from 1 to 1000000.',
    )
  })

  test.each<[string, string | Uint8Array<ArrayBuffer>]>([
    ['nothing', ''],
    ['half of JSON', '{"account":'],
    ['bytes that are no UTF-8', new Uint8Array([0x7b, 0xff, 0x7d])],
  ])('of %s is refused', async (_what, raw) => {
    expect((await office.refusal('POST', path, { raw })).slice(0, 2)).toEqual([400, 'invalid_json'])
  })

  test.each(['null', '[]', '"x"', '1'])('of %s is refused', async (raw) => {
    expect(await office.refusal('POST', path, { raw })).toEqual([
      400,
      'invalid_value',
      undefined,
      'The body must be a JSON object.',
    ])
  })

  test('with __proto__ is refused', async () => {
    const [status, , param] = await office.refusal('POST', path, {
      raw: `{"account":${account},"__proto__":{"kind":"management"}}`,
    })
    expect([status, param]).toEqual([400, '__proto__'])
  })

  test('may have 262144 bytes, and not one more', async () => {
    const body = JSON.stringify({ account })
    const fits = await office.ask('POST', path, { raw: body.padEnd(262_144) })
    expect([fits.status, (await office.refusal('POST', path, { raw: body.padEnd(262_145) })).slice(0, 2)]).toEqual([
      201,
      [413, 'request_too_large'],
    ])
  })
})

describe('nobody', () => {
  test.each([
    ['POST', path],
    ['GET', path],
    ['GET', `${path}/manager`],
    ['PATCH', `${path}/manager`],
    ['DELETE', `${path}/manager`],
  ])('may %s %s without a key', async (method, url) => {
    const message =
      'The API key is missing, unknown, expired or revoked. Send a valid one as "Authorization: Bearer <key>".'
    expect(await office.refusal(method, url, { key: '' })).toEqual([401, 'invalid_api_key', undefined, message])
  })

  test('may use another method', async () => {
    expect(await office.refusal('PUT', path)).toEqual([
      405,
      'method_not_allowed',
      undefined,
      'This path takes GET and POST.',
    ])
  })
})
