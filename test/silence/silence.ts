import { request } from 'node:http'
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { booked } from '../support/booked.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { completion, eventsOf, json, openStream, startVendor, type VendorCall } from '../support/vendor.ts'

/** A vendor that says nothing for long, over real sockets and through the whole gateway. */

const text = 'One two three'
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const events = eventsOf(text, usage)
/** How much longer the gateway waits than the vendor is silent. */
const spareMs = 30_000
/** What networks in front of gateways allow between two bytes: the shortest of the common limits. */
const networkMs = 100_000

interface Case {
  readonly name: string
  readonly stream: boolean
  readonly model: string
  /** The caller's side gives up where no byte came for so long; absent: never. */
  readonly limitMs?: number
}

/** Of one silence `ms` long: who is silent where, and whether a network with a limit of its own is in between. */
function casesOf(ms: number): readonly Case[] {
  const limitMs = Math.min(networkMs, ms / 2)
  return [
    { name: 'before the first byte of a stream', stream: true, model: 'test-model' },
    { name: 'after the first words of a stream', stream: true, model: 'test-model' },
    { name: 'before a body', stream: false, model: 'whole-model' },
    { name: 'before a body that is gathered', stream: false, model: 'gathered-model' },
  ].flatMap((one) => [one, { ...one, name: `${one.name}, behind a network with a limit`, limitMs }])
}

export interface Survived {
  readonly name: string
  /** Between two pieces of what the vendor sent. */
  readonly silentMs: number
  /** The longest time without a byte for the caller. */
  readonly longestMs: number
  readonly status: number
  readonly isWhole: boolean
  readonly outcome: unknown
  readonly cost: bigint
}

/** Two gateways, because the one that breaks silences must not help the callers of the other. */
export async function surviveSilence(ms: number): Promise<readonly Survived[]> {
  const vendor = await startVendor((call, response) => speakLate(call, response, ms))
  const settings = {
    vendorUrl: vendor.url,
    adapter: 'groq',
    timeouts: `    timeouts: { first_byte_ms: ${ms + spareMs}, idle_ms: ${ms + spareMs}, total_ms: ${2 * ms + spareMs} }`,
    model: '    policies: { unstreamed: gathered }',
    models: ['whole', 'gathered']
      .map(
        (way) => `  ${way}-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    policies: { unstreamed: ${way} }`,
      )
      .join('\n'),
  }
  // A quarter of the network's limit, at most what is the default.
  const beatMs = Math.ceil(Math.min(15_000, networkMs / 4, ms / 8))
  const beats = `{ silence_ms: ${beatMs}, commit_stream_ms: ${beatMs}, commit_body_ms: ${beatMs} }`
  const quiet = await startGateway({ ...settings, yaml: 'keep_alive: { silence_ms: 0 }' })
  const beating = await startGateway({ ...settings, yaml: `keep_alive: ${beats}` })
  try {
    return await Promise.all(casesOf(ms).map((one) => survive(one.limitMs === undefined ? quiet : beating, one, ms)))
  } finally {
    await Promise.all([quiet.close(), beating.close()])
    await vendor.close()
  }
}

async function speakLate(call: VendorCall, response: Parameters<typeof openStream>[0], ms: number): Promise<void> {
  const isMidway = call.text.includes('after the first words')
  if (!isMidway) await wait(ms)
  if (call.body['stream'] !== true) return json(response, 200, completion(text, usage))
  openStream(response)
  const first = isMidway ? 2 : 0
  for (const event of events.slice(0, first)) response.write(`data: ${event}\n\n`)
  if (isMidway) await wait(ms)
  for (const event of events.slice(first)) response.write(`data: ${event}\n\n`)
  response.end('data: [DONE]\n\n')
}

async function survive(gateway: TestGateway, one: Case, ms: number): Promise<Survived> {
  const account = await gateway.account('1')
  const { status, id, body, longestMs } = await ask(gateway, account.key, one)
  const { outcome, cost } = await booked(gateway, account, id)
  const said = one.stream ? body.endsWith('data: [DONE]\n\n') && body.includes('three') : body.includes(text)
  return { name: one.name, silentMs: ms, longestMs, status, isWhole: said, outcome, cost }
}

interface Heard {
  readonly status: number
  readonly id: string
  readonly body: string
  readonly longestMs: number
}

/** Asks as a client without any limit of its own, but for that of the network in between. */
function ask({ url }: TestGateway, key: string, { name, stream, model, limitMs }: Case): Promise<Heard> {
  const { promise, resolve, reject } = Promise.withResolvers<Heard>()
  let lastAt = performance.now()
  let longestMs = 0
  const heard = (): void => {
    longestMs = Math.max(longestMs, performance.now() - lastAt)
    lastAt = performance.now()
  }
  const asking = request(
    `${url}/v1/chat/completions`,
    { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, agent: false },
    (answer) => {
      heard()
      let body = ''
      answer.setEncoding('utf8').on('error', reject)
      answer.on('data', (chunk: string) => {
        heard()
        body += chunk
      })
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, id: String(answer.headers['x-request-id']), body, longestMs }),
      )
    },
  )
  if (limitMs !== undefined) asking.setTimeout(limitMs, () => asking.destroy(new Error('The network cut the call.')))
  asking.on('error', reject)
  asking.end(JSON.stringify({ model, stream, messages: [{ role: 'user', content: name }] }))
  return promise
}
