import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { fronts } from '../../src/fronts/index.ts'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Tokenizer } from '../../src/ports.ts'
import type { Reading } from '../replay/reader.ts'
import type { Tongue } from '../replay/tongue.ts'
import { tongues } from '../replay/tongues.ts'
import { booked, endedCalls, onlyCall } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { startVendor, type FakeVendor } from '../support/vendor.ts'
import { says, saysSome, wires, type Wire } from '../support/wires.ts'

/** The outcome table, for callers of every dialect and vendors of every kind. */

/** Nano-USD a token: 1 USD per million in, 2 USD per million out. */
const [inputNanos, outputNanos] = [1_000n, 2_000n]
const startNanos = 1_000_000_000n
const firstOutput = 32
const text = 'One two three'
const usage = { prompt_tokens: 10, completion_tokens: 3 }

let vendor: FakeVendor
let gateway: TestGateway
let tokenizer: Tokenizer
let account: TestAccount

const modelOf = (name: string, wire: Wire, policies = '') => `
  ${name}-${wire.adapter}:
    targets: [{ vendor: wire-${wire.adapter}, model: vendor-model }]
    prices: { input: 1, output: 2 }
    max_output_tokens: 4096
    policies: { ${policies} }`

beforeAll(async () => {
  vendor = await startVendor()
  tokenizer = await openTokenizer()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: wires
      .map(
        ({ adapter }) =>
          `  wire-${adapter}: { adapter: ${adapter}, base_url: ${vendor.url}, api_keys: [secret-of-ours] }`,
      )
      .join('\n'),
    models: wires
      .flatMap((wire) => [modelOf('plain', wire), modelOf('gathered', wire, 'unstreamed: gathered')])
      .join(''),
    yaml: `holds: { first_output_tokens: ${firstOutput} }`,
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await tokenizer.close()
})
beforeEach(async () => {
  vendor.calls.length = 0
  account = await gateway.account('1')
})

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly id: string
  readonly reading: Reading
  /** The message of an error in the dialect's own form. */
  readonly error: string | undefined
}

interface Asking {
  readonly tongue: Tongue
  readonly model: string
  readonly stream: boolean
  readonly signal?: AbortSignal
}

function post({ tongue, model, stream, signal }: Asking): Promise<Response> {
  return fetch(gateway.url + tongue.path(model, stream), {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(tongue.request({ model, stream })),
    ...(signal && { signal }),
  })
}

async function ask(asking: Asking): Promise<Answer> {
  const response = await post(asking)
  const bytes = new Uint8Array(await response.arrayBuffer())
  const { tongue, stream } = asking
  const isError = response.status !== 200
  const reading = stream && !isError ? tongue.readStream(bytes) : tongue.readBody(bytes)
  const error = isError ? tongue.errorMessage(reading.events[0] ?? {}) : undefined
  return {
    status: response.status,
    headers: response.headers,
    id: response.headers.get('x-request-id') ?? '',
    reading,
    error,
  }
}

/** What our own count of the prompt and of this text costs. */
async function counted(said: string) {
  const [role, prompt, output] = await Promise.all(
    ['user', 'Say something.', said].map((part) => tokenizer.count(part)),
  )
  const counts = { input: (role ?? 0) + (prompt ?? 0) + 3 + 3, output: output ?? 0 }
  const cost = BigInt(counts.input) * inputNanos + BigInt(counts.output) * outputNanos
  return { counts, source: 'counted', cost, account: after(cost) }
}

const after = (cost: bigint) => ({ balance: startNanos - cost, held: 0n, inFlight: 0 })
const nothing = { counts: {}, source: 'fixed', cost: 0n, account: after(0n) }
const wholeCost = 10n * inputNanos + 3n * outputNanos
const whole = { counts: { input: 10, output: 3 }, source: 'vendor', cost: wholeCost, account: after(wholeCost) }

const callers = [...tongues.values()].filter(({ dialect }) => fronts.some((front) => front.dialect === dialect))
const pairs = callers.flatMap((tongue) =>
  wires.map((wire) => ({ caller: tongue.dialect, kind: wire.adapter, tongue, wire })),
)

describe.each(pairs)('a caller of $caller whose vendor is like $kind', ({ tongue, wire }) => {
  const plain = `plain-${wire.adapter}`
  const attempts = [`wire-${wire.adapter} 200`]
  /** The frames until the second word has been said. */
  const halfway = (): readonly string[] => {
    const frames = wire.frames(text, usage)
    return frames.slice(0, frames.findIndex((frame) => frame.includes('"two "')) + 1)
  }

  test.each([
    ['streams', plain, true],
    ['does not stream', plain, false],
    ['does not stream and is served from a stream', `gathered-${wire.adapter}`, false],
  ])('who %s is told the answer and what it costs', async (_, model, stream) => {
    vendor.behave(says(wire, text, usage))
    const { status, headers, id, reading } = await ask({ tongue, model, stream })
    expect({
      status,
      text: reading.text,
      finish: tongue.finishClass(reading),
      isDone: reading.isDone,
      models: reading.models,
      told: reading.usage && tongue.totals(reading.usage),
      cost: stream ? reading.usage?.['cost'] : headers.get('x-tollgate-cost'),
    }).toEqual({
      status: 200,
      text,
      finish: 'stop',
      isDone: true,
      models: [model],
      told: { input: 10, output: 3 },
      cost: stream ? 0.000016 : '0.000016',
    })
    expect(await booked(gateway, account, id)).toEqual({ ...whole, outcome: 'complete', attempts })
    expect(vendor.calls.map((call) => wire.keyOf(call))).toEqual(['secret-of-ours'])
  })

  test.each([
    ['streams', true],
    ['does not stream', false],
  ])('who %s and whose vendor does not count pays what we count', async (_, stream) => {
    vendor.behave(says(wire, text))
    const { reading, id } = await ask({ tongue, model: plain, stream })
    expect(reading.text).toBe(text)
    expect(await booked(gateway, account, id)).toEqual({ ...(await counted(text)), outcome: 'complete', attempts })
  })

  test.each([
    ['breaks', [] as const],
    ['sends an error', ['error'] as const],
  ])('pays what was forwarded of a stream that %s after content, and is told that it broke', async (_, error) => {
    vendor.behave(saysSome([...halfway(), ...error.map(() => wire.errorFrame)], 'break'))
    const { status, reading, id } = await ask({ tongue, model: plain, stream: true })
    expect([status, reading.text, reading.error !== undefined]).toEqual([200, 'One two ', true])
    expect(await booked(gateway, account, id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'incomplete',
      attempts,
    })
  })

  test.each([true, false])('pays nothing where the vendor fails before any content (stream: %s)', async (stream) => {
    vendor.behave((_, response) => void response.writeHead(500).end('{"error":{"message":"No."}}'))
    const { status, error, id } = await ask({ tongue, model: plain, stream })
    expect([status, error === undefined]).toEqual([502, false])
    const failed = [`wire-${wire.adapter} 500 vendor_error`]
    expect(await booked(gateway, account, id)).toEqual({ ...nothing, outcome: 'vendor_failed', attempts: failed })
  })

  test('who hangs up after content pays what was forwarded', async () => {
    vendor.behave(saysSome(halfway(), 'wait'))
    const hangUp = new AbortController()
    const response = await post({ tongue, model: plain, stream: true, signal: hangUp.signal })
    let heard = ''
    for await (const chunk of response.body ?? []) {
      heard += Buffer.from(chunk).toString()
      if (heard.includes('two ')) break
    }
    hangUp.abort()
    const id = await onlyCall(gateway, account.key)
    expect(await booked(gateway, account, id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'client_abort',
      attempts,
    })
    expect(await vendor.calls[0]?.closed).toBe('broken')
  })

  test('whose money runs out gets an end for length and the reason, and pays no more than he has', async () => {
    const long = Array.from({ length: 400 }, (_, at) => `word${at} `).join('')
    const { counts } = await counted('')
    const balance = BigInt(counts.input) * inputNanos + BigInt(firstOutput + 10) * outputNanos
    account = await gateway.account(`0.${balance.toString().padStart(9, '0')}`)
    vendor.behave(says(wire, long, usage))
    const { status, reading, id } = await ask({ tongue, model: plain, stream: true })
    expect([status, tongue.finishClass(reading), reading.error !== undefined]).toEqual([200, 'length', true])
    expect(long.startsWith(reading.text)).toBe(true)
    const { outcome, source, cost, account: standing } = await booked(gateway, account, id)
    expect({ outcome, source, standing }).toEqual({
      outcome: 'cut',
      source: 'counted',
      standing: { balance: balance - cost, held: 0n, inFlight: 0 },
    })
    expect(cost).toBe((await counted(reading.text)).cost)
    expect(cost).toBeLessThanOrEqual(balance)
  })

  test('who asks for no model that there is costs nothing and reaches no vendor', async () => {
    const { status, error } = await ask({ tongue, model: 'no-such-model', stream: false })
    expect([status, error === undefined, vendor.calls.length]).toEqual([404, false, 0])
    expect(await endedCalls(gateway, account.key)).toEqual([])
  })
})
