import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { operationModels, wav } from '../support/operations.ts'
import { startVendor, type FakeVendor } from '../support/vendor.ts'
import { refusalIn } from './envelopes.ts'
import { able } from './subjects.ts'

/** Bad forms at every path that takes one: the right status in the caller's own envelope, soon, and nothing held. */

const answerMs = 15_000
const megabyte = 1_000_000

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor(able)
  gateway = await startGateway({
    vendorUrl: vendor.url,
    models: operationModels,
    // What is sent here is made in the same process, which is late for it.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
  })
  account = await gateway.account('1000')
})
afterEach(async () => {
  await expect.poll(() => standing(gateway, account), { timeout: 10_000 }).toMatchObject({ held: 0n, inFlight: 0 })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

describe.each([
  ['image-edits', '/v1/images/edits', 'painter', 'image', { prompt: 'a cat' }],
  ['transcriptions', '/v1/audio/transcriptions', 'ear', 'file', {}],
  ['translations', '/v1/audio/translations', 'ear', 'file', {}],
] as const)('%s', (dialect, path, model, file, fields) => {
  const sound = new Blob([wav(1)], { type: 'audio/wav' })
  function form(more: Readonly<Record<string, string | Blob | undefined>> = {}): FormData {
    const all = { model, [file]: sound, ...fields, ...more }
    const made = new FormData()
    for (const [name, value] of Object.entries(all)) {
      if (typeof value === 'string') made.append(name, value)
      else if (value) made.append(name, value, 'a.wav')
    }
    return made
  }
  async function told(body: FormData | string | Uint8Array<ArrayBuffer>, type?: string): Promise<string> {
    const answer = await fetch(gateway.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, ...(type !== undefined && { 'content-type': type }) },
      body,
      signal: AbortSignal.timeout(answerMs),
    })
    const text = await answer.text()
    return answer.status === 200 ? '200' : (refusalIn(dialect, answer.status, text) ?? text.slice(0, 200))
  }

  test('takes the usual form', async () => {
    expect(await told(form())).toBe('200')
  })

  test.each<[string, Readonly<Record<string, string | Blob | undefined>>, RegExp]>([
    ['without a model', { model: undefined }, /^400 invalid_value model$/],
    ['with a model of no name', { model: '' }, /^400 invalid_value model$/],
    ['with a model of a megabyte', { model: 'x'.repeat(megabyte) }, /^(400|413) /],
    ['with a model that is not there', { model: '../x' }, /^404 model_not_found model$/],
    ['with a model without a price', { model: 'unpriced-model' }, /^403 price_not_configured/],
    ['with a file for a model', { model: sound }, /^400 invalid_value model$/],
    ['without its file', { [file]: undefined }, new RegExp(`^400 invalid_value ${file}$`)],
    ['with a text for its file', { [file]: 'text' }, new RegExp(`^400 invalid_value ${file}$`)],
  ])('refuses a form %s', async (_, more, wanted) => {
    vendor.calls.length = 0
    expect(await told(form(more))).toMatch(wanted)
    expect(vendor.calls).toEqual([])
  })

  test.each<[string, string | Uint8Array<ArrayBuffer>, string]>([
    ['nothing', '', 'multipart/form-data; boundary=x'],
    ['JSON', '{"model":"painter"}', 'application/json'],
    ['a form without a boundary', '--x\r\n\r\n--x--\r\n', 'multipart/form-data'],
    [
      'another boundary',
      '--y\r\ncontent-disposition: form-data; name="model"\r\n\r\near\r\n--y--\r\n',
      'multipart/form-data; boundary=x',
    ],
    [
      'half a form',
      '--x\r\ncontent-disposition: form-data; name="model"\r\n\r\near',
      'multipart/form-data; boundary=x',
    ],
    ['a boundary of a megabyte', '--x--', `multipart/form-data; boundary=${'x'.repeat(20_000)}`],
    [
      '100,000 parts',
      `${'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n'.repeat(100_000)}--x--\r\n`,
      'multipart/form-data; boundary=x',
    ],
    [
      'a head of a megabyte',
      `--x\r\ncontent-disposition: form-data; name="${'a'.repeat(megabyte)}"\r\n\r\nb\r\n--x--\r\n`,
      'multipart/form-data; boundary=x',
    ],
    ['noise', new Uint8Array(1_000).fill(0x2d), 'multipart/form-data; boundary=--'],
    ['a form in the address form', 'model=ear&file=x', 'application/x-www-form-urlencoded'],
  ])('refuses %s', async (_, body, type) => {
    vendor.calls.length = 0
    expect(await told(body, type)).toMatch(/^(400|413|415) /)
    expect(vendor.calls).toEqual([])
  })

  test('refuses a form that is too large', async () => {
    expect(await told(form({ [file]: new Blob([new Uint8Array(40 * megabyte)]) }))).toBe('413 request_too_large')
  })
})
