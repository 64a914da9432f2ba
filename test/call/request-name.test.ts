import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, Caller } from '../../src/core/call.ts'
import type { Catalog, Model } from '../../src/core/catalog.ts'
import { exactText, requestText } from '../../src/call/request-name.ts'
import { defaultLimits } from '../../src/config/schema.ts'
import { chat } from '../../src/fronts/chat.ts'

const encoder = new TextEncoder()

function modelNamed(name: string, vendorModel = 'theirs'): Model {
  return {
    name,
    targets: [{ vendor: 'fake', model: vendorModel }],
    maxOutputTokens: 100,
    policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
    createdAtMs: 0,
    provisioned: true,
  }
}

function catalogAt(baseUrl: string): Catalog {
  const fake = { id: 'fake', adapter: 'openai', baseUrl, apiKeys: [], limits: defaultLimits }
  return { models: new Map(), vendors: new Map([['fake', fake]]) }
}

const catalog = catalogAt('http://one.test')

function callerOf(accountId: number, keyId = 1): Caller {
  const rest = { currency: 'USD', discountPpm: 1_000_000, publicId: `k${keyId}`, kind: 'master' } as const
  return { accountId, keyId, ...rest, chain: [], models: [] }
}

function callOf(body: string): Call {
  const parts = { id: 'id', startedAtMs: 0, path: '/', header: () => undefined, query: () => undefined }
  return chat.read(encoder.encode(body), parts)
}

/** One request, and all that its answer depends on. */
interface Scene {
  readonly account: number
  readonly model: string
  readonly beta: string
  /** Values by name, as JSON. */
  readonly fields: ReadonlyMap<string, string>
  /** What must not matter: the order of members, the space between them, and whether it is a stream. */
  readonly order: readonly number[]
  readonly space: string
  readonly stream: boolean
}

const values = [
  '1',
  '1.0',
  '9007199254740993',
  '9007199254740992',
  '"a"',
  '"a,b"',
  '"\\"}"',
  '[1,2]',
  '[12]',
  '{"b":1,"a":2}',
  '{"a":2,"b":1}',
  'null',
]
const names = ['seed', 'user', 'x_one', 'x"two', 'x_one:1,x', 'provider']

const scenes: fc.Arbitrary<Scene> = fc.record({
  account: fc.constantFrom(1, 11, 12),
  model: fc.constantFrom('m', 'm1', '1'),
  beta: fc.constantFrom('', 'a', 'a,b'),
  fields: fc
    .uniqueArray(fc.tuple(fc.constantFrom(...names), fc.constantFrom(...values)), {
      selector: ([name]) => name,
      maxLength: 3,
    })
    .map((fields) => new Map(fields)),
  order: fc.array(fc.nat(9), { minLength: 8, maxLength: 8 }),
  space: fc.constantFrom('', ' ', '\n\t'),
  stream: fc.boolean(),
})

function textOf(scene: Scene): string {
  const { account, model, beta, fields, order, space, stream } = scene
  const members = [
    ['model', JSON.stringify(model)],
    ['messages', '[{"role":"user","content":"hi"}]'],
    ...(stream
      ? [
          ['stream', 'true'],
          ['stream_options', '{"include_usage" : true}'],
        ]
      : []),
    ...fields,
  ].map(([name, value], at) => ({ text: `${JSON.stringify(name)}${space}:${space}${value}`, place: order[at] ?? 0 }))
  const body = members.toSorted((a, b) => a.place - b.place).map(({ text }) => text)
  const call = { ...callOf(`{${space}${body.join(`${space},`)}}`), ...(beta !== '' && { headers: { 'x-beta': beta } }) }
  return requestText({ caller: callerOf(account), call, model: modelNamed(model) }, catalog)
}

/** What makes two scenes the same, said without the text. */
function meaningOf({ account, model, beta, fields }: Scene): unknown {
  return [account, model, beta, [...fields].toSorted(([a], [b]) => (a < b ? -1 : 1))]
}

describe('the name of a request', () => {
  test('is the same exactly where account, model, headers and every parameter are the same', () => {
    const pair = fc.tuple(scenes, scenes)
    const twins = scenes.chain((one) =>
      fc.tuple(
        fc.constant(one),
        scenes.map((other) => ({ ...one, order: other.order, space: other.space, stream: other.stream })),
      ),
    )
    fc.assert(
      fc.property(fc.oneof(pair, twins), ([one, other]) => {
        const areSame = JSON.stringify(meaningOf(one)) === JSON.stringify(meaningOf(other))
        expect(textOf(one) === textOf(other)).toBe(areSame)
      }),
      { numRuns: 5_000 },
    )
  })

  test('is never that of another account, whatever either asks', () => {
    const apart = fc.tuple(scenes, scenes, fc.nat(1_000_000), fc.integer({ min: 1, max: 1_000_000 }))
    fc.assert(
      fc.property(apart, ([one, other, account, more]) => {
        expect(textOf({ ...one, account })).not.toBe(textOf({ ...other, account: account + more }))
      }),
      { numRuns: 3_000 },
    )
  })

  const base = '{"model":"m","messages":[{"role":"user","content":"hi"}]'
  const textFor = (rest: string, model = modelNamed('m'), of = catalog): string =>
    requestText({ caller: callerOf(1), call: callOf(`${base}${rest}}`), model }, of)

  test.each<[what: string, rest: string, isSame: boolean]>([
    ['our field for the cache', ',"cache":{"ttl":1}', true],
    ['tags', ',"tags":["a"]', true],
    ['a session', ',"session_id":"s"', true],
    ['a wish for usage', ',"stream":true,"stream_options":{"include_usage":true}', true],
    ['other options of a stream', ',"stream":true,"stream_options":{"include_obfuscation":true}', false],
    ['a choice of vendors', ',"provider":{"only":["fake"]}', false],
    ['other models', ',"models":["n"]', false],
    ['a field that nobody knows', ',"x":1', false],
    ['a field that is null', ',"x":null', false],
  ])('with %s', (_, rest, isSame) => {
    expect(textFor(rest) === textFor('')).toBe(isSame)
  })

  test('counts a member that is given twice, in its order', () => {
    const texts = [',"x":1,"x":2', ',"x":2,"x":1', ',"x":2'].map((rest) => textFor(rest))
    expect(new Set(texts).size).toBe(3)
  })

  test('is another one once the model is served by another target, or at another address', () => {
    const texts = [
      textFor(''),
      textFor('', modelNamed('m', 'newer')),
      textFor('', modelNamed('m'), catalogAt('http://two.test')),
    ]
    expect(new Set(texts).size).toBe(3)
  })

  test('is another where a header decides otherwise who answers', () => {
    const named = (wishes: readonly (readonly [string, string])[]) =>
      requestText({ caller: callerOf(1), call: callOf(`${base}}`), model: modelNamed('m') }, catalog, wishes)
    const all = [[], [['x-tollgate-only', 'a']], [['x-tollgate-only', 'b']], [['x-tollgate-ignore', 'a']]] as const
    expect(new Set(all.map(named)).size).toBe(all.length)
  })

  test('is the same for all keys of an account', () => {
    const texts = [1, 2].map((key) =>
      requestText({ caller: callerOf(1, key), call: callOf(`${base}}`), model: modelNamed('m') }, catalog),
    )
    expect(texts[0]).toBe(texts[1])
  })
})

describe('the exact text of a request', () => {
  const exact = (call: Call, path = '/v1/chat/completions'): string =>
    exactText({ caller: callerOf(1), call, model: modelNamed('m') }, path)

  test('differs by every byte and by the address', () => {
    const call = callOf('{"model":"m","messages":[{"role":"user","content":"hi"}]}')
    const spaced = callOf('{"model":"m", "messages":[{"role":"user","content":"hi"}]}')
    expect(new Set([exact(call), exact(spaced), exact(call, '/other')]).size).toBe(3)
  })

  test('of a form is that of its parts, whatever the boundary is', () => {
    const call = callOf('{"model":"m","messages":[{"role":"user","content":"hi"}]}')
    const form = (boundary: string, byte: number): Call => ({
      ...call,
      raw: encoder.encode(boundary),
      parts: [{ name: 'file', fileName: 'a.wav', type: 'audio/wav', bytes: new Uint8Array([byte]) }],
    })
    expect(exact(form('one', 0xff))).toBe(exact(form('two', 0xff)))
    expect(exact(form('one', 0xff))).not.toBe(exact(form('one', 0xfe)))
  })
})
