import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { operationModels } from '../support/operations.ts'
import { startVendor, type FakeVendor } from '../support/vendor.ts'
import { refusalIn, type Told } from './envelopes.ts'
import { able, subjects, type Subject } from './subjects.ts'

/** Bad inputs at every path that takes a call: the right status in the caller's own envelope, soon, and nothing held. */

const answerMs = 15_000
const startNanos = 1_000_000_000_000n
const megabyte = 1_000_000

let vendor: FakeVendor
let elsewhere: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor(able)
  elsewhere = await startVendor()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    // The vendor that has every operation speaks the other dialects too, and here all of them are to be translated.
    vendors: `  plain: { adapter: groq, base_url: ${vendor.url}, api_keys: [vendor-secret] }`,
    models: `${operationModels}
  plain-model:
    targets: [{ vendor: plain, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
    // What is sent here is made in the same process, which is late for it.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
  })
  account = await gateway.account('1000')
})
afterEach(async () => {
  await expect.poll(() => standing(gateway, account), { timeout: 10_000 }).toMatchObject({ held: 0n, inFlight: 0 })
  expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('polluted')
  expect(elsewhere.calls).toEqual([])
  expect((await standing(gateway, account)).balance).toBeLessThanOrEqual(startNanos)
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await elsewhere.close()
})

/** The address with a model in it, or with another one. */
const pathOf = ({ path, model }: Subject, named = model): string => path.replace('MODEL', encodeURIComponent(named))
const bodyOf = ({ isInPath, model, body }: Subject, more: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ ...(isInPath ? {} : { model }), ...body, ...more })

async function send(subject: Subject, body: string | Uint8Array<ArrayBuffer>, path = pathOf(subject)): Promise<Told> {
  const answer = await fetch(gateway.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body,
    signal: AbortSignal.timeout(answerMs),
  })
  const text = await answer.text()
  const { status } = answer
  return { status, text, refusal: status === 200 ? undefined : refusalIn(subject.dialect, status, text) }
}

/** All cases at one path, with what became of each that was not refused as it should be. */
async function unrefused(
  subject: Subject,
  cases: Readonly<Record<string, string | Uint8Array<ArrayBuffer>>>,
  wanted: RegExp,
) {
  vendor.calls.length = 0
  const wrong: Record<string, string> = {}
  for (const [name, body] of Object.entries(cases)) {
    const { refusal, status, text } = await send(subject, body)
    if (!wanted.test(refusal ?? '')) wrong[name] = refusal ?? `${status} ${text.slice(0, 200)}`
  }
  return { wrong, heard: vendor.calls.length }
}
const none = { wrong: {}, heard: 0 }
const latin = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (letter) => letter.charCodeAt(0))

describe.each(subjects.map((subject) => [subject.dialect, subject] as const))('%s', (_, subject) => {
  const good = bodyOf(subject)
  const withMembers = (members: string): string => `${good.slice(0, -1)},${members}}`

  test('takes the usual call', async () => {
    expect((await send(subject, good)).status).toBe(200)
  })

  test('refuses what is no request', async () => {
    const cases = {
      nothing: '',
      'white space': ' \n',
      null: 'null',
      'a list': '[]',
      'a string': '"x"',
      'a number': '1',
      'half an object': '{"model":',
      'a comma too many': `${good.slice(0, -1)},}`,
      'two objects': good + good,
      'an object and NUL': `${good}\0`,
      NaN: withMembers('"temperature":NaN'),
      'UTF-16': new Uint8Array(Buffer.from(`\ufeff${good}`, 'utf16le')),
      'bytes that are no UTF-8': latin(withMembers('"x":"\xff\xc3"')),
      'a surrogate in UTF-8': latin(withMembers('"x":"\xed\xa0\x80"')),
      'lists 100,000 deep': withMembers(`"x":${'['.repeat(100_000)}${']'.repeat(100_000)}`),
      'objects 100,000 deep': withMembers(`"x":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
      'a million members': withMembers(Array.from({ length: megabyte }, (__, at) => `"k${at}":1`).join()),
    }
    expect(await unrefused(subject, cases, /^400 invalid_json$/)).toEqual(none)
  })

  test('refuses a body that is too large', async () => {
    const cases = { 'a string of 34 MB': withMembers(`"x":"${'a'.repeat(34 * megabyte)}"`) }
    expect(await unrefused(subject, cases, /^413 request_too_large$/)).toEqual(none)
  })

  test.skipIf(subject.isInPath)('refuses a model that is none', async () => {
    const values = [undefined, null, '', 5, [], {}, 'x'.repeat(megabyte)]
    const cases = Object.fromEntries(
      values.map((model) => [JSON.stringify(model)?.slice(0, 20), bodyOf(subject, { model })]),
    )
    expect(await unrefused(subject, cases, /^400 invalid_value model$/)).toEqual(none)
  })

  const strangers = [
    'gpt-4*',
    '.*',
    '../x',
    'huggingface/https://evil.test',
    'a,b',
    'test-m\u043edel',
    'TEST-MODEL',
    `${subject.model} `,
    '__proto__',
    'constructor',
    'test-model\0',
  ]
  test.skipIf(subject.isInPath)('does not know a model by another name', async () => {
    const cases = Object.fromEntries(strangers.map((model) => [model, bodyOf(subject, { model })]))
    expect(await unrefused(subject, cases, /^404 model_not_found model$/)).toEqual(none)
  })

  test.skipIf(!subject.isInPath)('does not know a model by another name in its path', async () => {
    vendor.calls.length = 0
    for (const model of strangers) {
      const { status, refusal } = await send(subject, good, pathOf(subject, model))
      expect([model, [400, 404].includes(status), refusal !== undefined]).toEqual([model, true, true])
    }
    expect(vendor.calls).toEqual([])
  })

  test('refuses two models in one body', async () => {
    const doubled = subject.isInPath
      ? {}
      : { twice: withMembers('"model":"unpriced-model"'), cased: withMembers('"Model":"unpriced-model"') }
    expect(await unrefused(subject, doubled, /^400 invalid_value model$/)).toEqual(none)
  })

  test('does not serve a model without a price', async () => {
    const path = pathOf(subject, 'unpriced-model')
    const { refusal } = await send(subject, bodyOf(subject, subject.isInPath ? {} : { model: 'unpriced-model' }), path)
    expect(refusal).toMatch(/^403 price_not_configured/)
  })

  test.skipIf(!subject.bounds)('refuses bounds that are none', async () => {
    // Of a prompt that is only completed nothing may be asked for: then its echo alone is the answer.
    const numbers = [
      ...(subject.dialect === 'completions' ? [] : ['0']),
      '-1',
      '1.5',
      '1e308',
      '"10"',
      'true',
      '[]',
      '{}',
      '2147483649',
      '9007199254740993',
      '1e30',
      '1e400',
    ]
    for (const bound of subject.bounds ?? []) {
      const { [bound]: __, ...rest } = JSON.parse(good) as Record<string, unknown>
      const base = JSON.stringify(rest).slice(0, -1)
      const cases = Object.fromEntries(numbers.map((number) => [number, `${base},"${bound}":${number}}`]))
      expect(await unrefused(subject, cases, new RegExp(`^400 invalid_value ${bound}$`))).toEqual(none)
    }
  })

  test.skipIf(!subject.count)('refuses numbers of answers that are none', async () => {
    const cases = Object.fromEntries(
      ['0', '-1', '1.5', '1000000', '"2"', '[]', '1e400'].map((number) => [
        number,
        withMembers(`"${subject.count}":${number}`),
      ]),
    )
    expect(await unrefused(subject, cases, new RegExp(`^400 invalid_value ${subject.count}$`))).toEqual(none)
  })

  test.skipIf(!subject.streams)('refuses a stream that is neither true nor false', async () => {
    const cases = Object.fromEntries(
      ['"true"', '1', '{}', '[]'].map((value) => [value, withMembers(`"stream":${value}`)]),
    )
    expect(await unrefused(subject, cases, /^400 invalid_value stream$/)).toEqual(none)
  })

  test('refuses what it needs in any other form, by name', async () => {
    for (const [name, values] of Object.entries(subject.needs)) {
      const cases = Object.fromEntries(
        values.map((value) => [`${name} ${JSON.stringify(value)?.slice(0, 60)}`, bodyOf(subject, { [name]: value })]),
      )
      expect(await unrefused(subject, cases, new RegExp(`^400 (invalid_value (${name}|parts)|invalid_json$)`))).toEqual(
        none,
      )
    }
  })

  test('takes no orders about whom to call, who pays and what it costs', async () => {
    const forged = {
      base_url: elsewhere.url,
      api_base: elsewhere.url,
      api_key: 'sk-of-another',
      custom_host: elsewhere.url,
      proxy: elsewhere.url,
      headers: { authorization: 'Bearer other', host: 'evil.test' },
      extra_headers: { 'x-api-key': 'other' },
      user_id: 7,
      team: 'other',
      user_api_key: 'other',
      cost: 0,
      price: 0,
      spend: -1,
      discount: 100,
      metadata: { user_id: '7', account: '1', user_api_key: 'other' },
      extra_body: { model: 'unpriced-model', base_url: elsewhere.url },
      litellm_params: { api_base: elsewhere.url },
    }
    vendor.calls.length = 0
    const { status, refusal } = await send(subject, bodyOf(subject, forged))
    expect([200, 400]).toContain(status)
    if (status === 400) expect(refusal).toMatch(/^400 invalid_value/)
    const keys = vendor.calls.map(({ headers }) => headers.authorization)
    expect(keys).toEqual(status === 200 ? ['Bearer vendor-secret'] : [])
  })

  test('is not changed by prototypes', async () => {
    const poison = '"__proto__":{"polluted":1,"model":"unpriced-model"},"constructor":{"prototype":{"polluted":1}}'
    const { status } = await send(subject, withMembers(poison))
    expect([200, 400]).toContain(status)
    const deep = good.replaceAll('{"', '{"__proto__":{"polluted":1},"')
    expect([200, 400]).toContain((await send(subject, deep)).status)
  })

  test('survives what is too much of a good thing', async () => {
    const many = (length: number, of: (at: number) => unknown): unknown[] => Array.from({ length }, (__, at) => of(at))
    const more: Readonly<Record<string, unknown>> = {
      temperature: 'hot',
      logit_bias: Object.fromEntries(many(90_000, (at) => [String(at), 1]) as [string, number][]),
      stop: many(10_000, (at) => `stop ${at}`),
      service_tier: 'nonsense',
      seed: 1e308,
      user: 'x'.repeat(megabyte),
      stream_options: { include_usage: true },
      store: true,
      previous_response_id: 'resp_of_another_account',
      best_of: 1_000_000,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: 5 } },
      encoding_format: 'nonsense',
      dimensions: -1,
      top_n: -1,
      size: '0x0',
      voice: { a: 1 },
      speed: 'fast',
    }
    for (const [name, value] of Object.entries(more)) {
      const { status, text } = await send(subject, bodyOf(subject, { [name]: value }))
      expect([name, [200, 400].includes(status) || text.slice(0, 300)]).toEqual([name, true])
    }
  })
})
