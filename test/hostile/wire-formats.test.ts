import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { startVendor, type FakeVendor } from '../support/vendor.ts'
import { tongues } from '../replay/tongues.ts'
import { samples, type Sample } from '../vendors/samples.ts'

/**
 * Whatever bytes a vendor sends, in each of the formats that vendors have, and whatever the caller speaks: the call
 * ends, the process goes on, and nothing stays held.
 */

/** An answer that has not come by then hangs. */
const answerMs = 10_000
const runs = 40

/** One of each format: server-sent events of each dialect, lines of JSON, binary frames. */
const names = [
  'recorded/qwen/chat-stream-tool-arguments-in-pieces.response.sse',
  'anthropic/thinking-tools.sse',
  'gemini/thoughts-and-tools.sse',
  'responses/thought-search-tools.sse',
  'converse',
  'cohere',
  'dashscope',
  'ollama',
  'dify',
]
const formats = names.map((name) => samples.find((sample) => sample.name === name)!)
const idOf = ({ adapter }: Sample): string => `wire-${adapter}`

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
/** What the vendor sends to the call whose prompt has this number, and whether it resets the connection then. */
const sendings = new Map<string, { readonly sample: Sample; readonly bytes: Uint8Array; readonly resets: boolean }>()
let asked = 0

beforeAll(async () => {
  vendor = await startVendor((call, response) => {
    const sending = sendings.get(/sending-\d+/.exec(call.text)?.[0] ?? '')
    if (!sending) return void response.destroy()
    response.writeHead(200, { 'content-type': sending.sample.contentType })
    if (sending.resets) response.write(sending.bytes, () => response.destroy())
    else response.end(sending.bytes)
  })
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: formats
      .map((sample) => `  ${idOf(sample)}: { adapter: ${sample.adapter}, base_url: ${vendor.url}, api_keys: [secret] }`)
      .join('\n'),
    models: formats
      .map(
        (sample) => `
  ${idOf(sample)}:
    targets: [{ vendor: ${idOf(sample)}, model: vendor-model }]
    prices: { input: 1, output: 2 }
    policies: { unstreamed: gathered }
    routing: { slow_ms: 3600000 }`,
      )
      .join(''),
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
  })
  account = await gateway.account('1000')
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

/** A good stream that was damaged in a few places, was cut short, or is no stream at all. */
function damagedFrom({ bytes }: Sample): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    at: fc.nat(bytes.length),
    drop: fc.nat(40),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc
        .constantFrom('\n', '\r', '\n\n', 'data: ', '{', '}', '"', 'null', '[DONE]', '\0', '\ufeff')
        .map((text) => new TextEncoder().encode(text)),
    ),
  })
  const edited = fc
    .array(edit, { minLength: 1, maxLength: 5 })
    .map((edits) =>
      edits.reduce<Uint8Array>(
        (all, { at, drop, put }) => Buffer.concat([all.subarray(0, at), put, all.subarray(at + drop)]),
        bytes,
      ),
    )
  return fc.oneof(
    { weight: 4, arbitrary: edited },
    { weight: 2, arbitrary: fc.nat(bytes.length).map((size) => bytes.subarray(0, size)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 400 }) },
  )
}

const speakers = ['chat', 'messages', 'responses', 'generate'].map((dialect) =>
  [...tongues.values()].find((one) => one.dialect === dialect)!,
)

async function ask(
  sample: Sample,
  how: { readonly bytes: Uint8Array; readonly resets: boolean; readonly speaker: number; readonly stream: boolean },
) {
  const tongue = speakers[how.speaker]!
  const prompt = `sending-${++asked}`
  sendings.set(prompt, { sample, bytes: how.bytes, resets: how.resets })
  const form = { model: idOf(sample), stream: how.stream }
  const answer = await fetch(gateway.url + tongue.path(form.model, form.stream), {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(tongue.request(form)).replace('Say something.', prompt),
    signal: AbortSignal.timeout(answerMs),
  })
  const text = await answer.text()
  sendings.delete(prompt)
  return { status: answer.status, text }
}

describe.concurrent.each(formats.map((sample) => [sample.adapter, sample] as const))('%s', (_, sample) => {
  test('whole, reaches callers of each dialect', async () => {
    for (const speaker of speakers.keys())
      for (const stream of [true, false]) {
        const { status, text } = await ask(sample, { bytes: sample.bytes, resets: false, speaker, stream })
        expect([speakers[speaker]?.dialect, stream, status, text.length > 100]).toEqual([
          speakers[speaker]?.dialect,
          stream,
          200,
          true,
        ])
      }
  })

  test('damaged, ends in one way or another', async () => {
    const how = fc.record({
      bytes: damagedFrom(sample),
      resets: fc.boolean(),
      speaker: fc.nat(speakers.length - 1),
      stream: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(how, async (given) => {
        const { status, text } = await ask(sample, given)
        expect([200, 400, 402, 413, 429, 502, 503, 504]).toContain(status)
        // An answer in one body is one of JSON, whatever is in it.
        if (status !== 200 || !given.stream) JSON.parse(text)
      }),
      { numRuns: runs },
    )
  })
})

test('no fault of ours was met, and nothing stays held', async () => {
  expect(await (await fetch(`${gateway.url}/healthz`)).text()).toBe('{"status":"ok"}')
  await expect.poll(() => standing(gateway, account), { timeout: 10_000 }).toMatchObject({ held: 0n, inFlight: 0 })
  const faults = /"event":"(internal_error|charge_failed)"/
  expect(gateway.log.filter((line) => faults.test(line))).toEqual([])
})
