import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { breakAfter, stream } from '../support/behaviours.ts'
import { booked } from '../support/booked.ts'
import { chatWith, type Answer } from '../support/chat.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import {
  answerText,
  completion,
  eventsOf,
  json,
  openStream,
  startVendor,
  type Behaviour,
  type FakeVendor,
} from '../support/vendor.ts'

const messages = [{ role: 'user', content: 'Tell me something' }]
const text = 'One two three'
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const events = eventsOf(text, usage)
/** 10 tokens in at 1 USD a million, 3 out at 2. */
const cost = 16_000n
const startNanos = 1_000_000_000n

const status =
  (code: number, headers: Record<string, string> = {}): Behaviour =>
  (_, response) =>
    json(response, code, { error: { message: 'No.', type: 'some_error' } }, headers)

/** These bytes with a good status, as the type that was asked for; `ends`: and then the end of the answer. */
const bytes =
  (body: string, { type, ends = true }: { type?: string; ends?: boolean } = {}): Behaviour =>
  (call, response) => {
    const asked = call.body['stream'] === true ? 'text/event-stream' : 'application/json'
    response.writeHead(200, { 'content-type': type ?? asked })
    if (ends) response.end(body)
    else response.write(body)
  }

const silent: Behaviour = () => {}
const silentAfterHead: Behaviour = (_, response) => {
  openStream(response)
  response.flushHeaders()
}
const silentAfterRole: Behaviour = (call, response) =>
  bytes(call.body['stream'] === true ? `data: ${events[0]}\n\n` : '{"choices":[', { ends: false })(call, response)
const resetAfterHead: Behaviour = (_, response) => {
  openStream(response)
  response.flushHeaders()
  setTimeout(() => response.destroy(), 20)
}
const resetInside: Behaviour = (call, response) => {
  if (call.body['stream'] === true) return breakAfter(events.slice(0, 1))(call, response)
  response.writeHead(200, { 'content-type': 'application/json' })
  response.write(JSON.stringify(completion(text, usage)).slice(0, 40), () => response.destroy())
}
/** So slowly that the whole of it takes longer than it may. */
const slow: Behaviour = (call, response) => {
  void bytes(call.body['stream'] === true ? ': wait\n\n' : ' ', { ends: false })(call, response)
  const timer = setInterval(() => response.write(call.body['stream'] === true ? ': wait\n\n' : ' '), 50)
  response.once('close', () => clearInterval(timer))
}
const failing = JSON.stringify({ error: { message: 'Overloaded.', type: 'server_error', code: 'overloaded' } })
const errorInside: Behaviour = (call, response) =>
  (call.body['stream'] === true ? stream([failing]) : bytes(failing))(call, response)
const errorAfterRole: Behaviour = (call, response) =>
  (call.body['stream'] === true ? stream([events[0] ?? '', failing]) : bytes(failing))(call, response)

interface Fault {
  readonly name: string
  /** Undefined: nobody listens at the address. */
  readonly behaviour: Behaviour | undefined
  /** What a caller is told where there is no other target. */
  readonly told: readonly [status: number, code: string]
  /** Status and error of the attempt on record. */
  readonly attempt: string
}

const bad = [502, 'vendor_error'] as const
const late = [504, 'vendor_timeout'] as const
const ours = [503, 'no_target_available'] as const

const faults: readonly Fault[] = [
  { name: 'refuses the connection', behaviour: undefined, told: bad, attempt: '0 vendor_error' },
  { name: 'resets the connection before its head', behaviour: breakAfter([]), told: bad, attempt: '0 vendor_error' },
  { name: 'resets it after the head', behaviour: resetAfterHead, told: bad, attempt: '200 vendor_error' },
  { name: 'resets it before the first content', behaviour: resetInside, told: bad, attempt: '200 vendor_error' },
  { name: 'is silent', behaviour: silent, told: late, attempt: '0 vendor_timeout' },
  { name: 'is silent after its head', behaviour: silentAfterHead, told: late, attempt: '200 vendor_timeout' },
  { name: 'is silent before the first content', behaviour: silentAfterRole, told: late, attempt: '200 vendor_timeout' },
  { name: 'is too slow', behaviour: slow, told: late, attempt: '200 vendor_timeout' },
  ...[401, 402, 403, 404].map((code) => ({
    name: `answers ${code}`,
    behaviour: status(code),
    told: ours,
    attempt: `${code} no_target_available`,
  })),
  {
    name: 'is busy',
    behaviour: status(429, { 'retry-after': '7' }),
    told: [429, 'vendor_busy'],
    attempt: '429 vendor_busy',
  },
  ...[408, 500, 502, 503, 504, 529].map((code) => ({
    name: `answers ${code}`,
    behaviour: status(code),
    told: bad,
    attempt: `${code} vendor_error`,
  })),
  {
    name: 'sends a page of HTML',
    behaviour: bytes('<html>Login</html>', { type: 'text/html' }),
    told: bad,
    attempt: '200 vendor_error',
  },
  {
    name: 'sends null',
    behaviour: bytes('null', { type: 'application/json' }),
    told: bad,
    attempt: '200 vendor_error',
  },
  { name: 'sends nothing', behaviour: bytes(''), told: bad, attempt: '200 vendor_error' },
  {
    name: 'sends half of a JSON value',
    behaviour: bytes('data: {"choices":[{"ind\n\n'),
    told: bad,
    attempt: '200 vendor_error',
  },
  {
    name: 'sends an end without an answer',
    behaviour: bytes('data: [DONE]\n\n'),
    told: bad,
    attempt: '200 vendor_error',
  },
  { name: 'sends an error with a good status', behaviour: errorInside, told: bad, attempt: '200 vendor_error' },
  {
    name: 'sends an error before the first content',
    behaviour: errorAfterRole,
    told: bad,
    attempt: '200 vendor_error',
  },
]

const cases = faults.flatMap((fault) =>
  [true, false].map((isStream) => ({ ...fault, isStream, how: isStream ? 'streamed' : 'unstreamed' })),
)
const numbered = cases.map((each, at) => ({ ...each, at }))

let vendor: FakeVendor
let gateway: TestGateway

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Vendors fall silent only where that is the case: a busy machine is not taken for a silent one. */
function vendorYaml(at: number, port: number, name: string): string {
  const fault = cases[at]
  const isLate = fault?.told[1] === 'vendor_timeout'
  return `
  ${name}-${at}:
    adapter: openai
    base_url: ${fault?.behaviour ? `${vendor.url}/fault-${at}` : `http://127.0.0.1:${port}`}
    api_keys: [vendor-secret]
    timeouts: { first_byte_ms: ${isLate ? 500 : 20_000}, idle_ms: ${isLate ? 500 : 20_000}, total_ms: ${isLate ? 1_500 : 20_000} }`
}

/** Each case has a first vendor of its own: a circuit or a parked key of one says nothing about another. */
beforeAll(async () => {
  vendor = await startVendor()
  const port = await closedPort()
  vendor.behave((call, response) => {
    const at = /^\/fault-(\d+)\//.exec(call.path)?.[1]
    const behaviour = at === undefined ? undefined : cases[+at]?.behaviour
    return (behaviour ?? answerText(text, usage))(call, response)
  })
  gateway = await startGateway({
    // A busy machine must not refuse what is asked about here.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
    vendorUrl: vendor.url,
    vendors: numbered
      .map(({ at, isStream }) => vendorYaml(at, port, 'two') + (isStream ? vendorYaml(at, port, 'one') : ''))
      .join(''),
    models: numbered
      .map(
        ({ at }) => `
  two-${at}:
    targets: [{ vendor: two-${at}, model: x }, { vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
  one-${at}:
    targets: [{ vendor: one-${at - (at % 2)}, model: x }]
    prices: { input: 1, output: 2 }`,
      )
      .join(''),
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

describe.concurrent('the first of two vendors that', () => {
  test.each(numbered)('$name ends in the answer of the second, one charge, two attempts ($how)', async (each) => {
    const account = await gateway.account('1')
    const answer: Answer = await chatWith(gateway, account.key, {
      model: `two-${each.at}`,
      messages,
      stream: each.isStream,
    })
    expect([answer.status, answer.text, answer.error]).toEqual([200, text, undefined])
    expect(answer.headers.get('x-tollgate-attempts')).toBe('2')
    expect(await booked(gateway, account, answer.id)).toEqual({
      outcome: 'complete',
      counts: { input: 10, output: 3 },
      source: 'vendor',
      cost,
      attempts: [`two-${each.at} ${each.attempt}`, 'fake 200'],
      account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
    })
  })
})

describe.concurrent('the only vendor that', () => {
  test.each(numbered)('$name ends in its error, nothing charged, nothing held ($how)', async (each) => {
    const account = await gateway.account('1')
    const answer: Answer = await chatWith(gateway, account.key, {
      model: `one-${each.at}`,
      messages,
      stream: each.isStream,
    })
    expect([answer.status, answer.error?.code]).toEqual(each.told)
    expect(await booked(gateway, account, answer.id)).toEqual({
      outcome: 'vendor_failed',
      counts: {},
      source: 'fixed',
      cost: 0n,
      attempts: [`one-${each.at - (each.at % 2)} ${each.attempt}`],
      account: { balance: startNanos, held: 0n, inFlight: 0 },
    })
  })
})
