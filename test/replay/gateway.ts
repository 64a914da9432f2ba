import { Agent, request } from 'node:http'
import { readConfig } from '../../src/config.ts'
import type { JsonObject } from '../../src/core/call.ts'
import { listen, openGateway } from '../../src/entry/start.ts'
import { trialAccount, trialKey } from '../../src/entry/trial.ts'
import { buildCatalog } from '../../src/gateway/catalog.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openCrypto } from '../../src/platform/crypto.ts'
import { noJournal } from '../../src/platform/journal.ts'
import { memoryBooks } from '../../src/platform/memory-books.ts'
import { openMemory } from '../../src/platform/memory.ts'
import { openUndici } from '../../src/platform/undici.ts'
import type { Receipt, Tokenizer } from '../../src/ports.ts'
import { priceList } from './price.ts'

/** Calls of which the books here still know the receipt: settle up before there are more. */
export const rememberedCalls = 500

/** The same model under this name is served to callers without a stream by gathering one. */
export const gatheredName = (model: string): string => `gathered/${model}`
/** What the gateway's vendor takes as its key. */
export const vendorKey = 'recorded-vendor-key'

const startingBalance = 1_000_000_000_000_000n
const longestCallMs = 30_000
const maxAnswerBytes = 64 * 1024 * 1024
const drainMs = 5_000

/** What a caller got. */
export interface CallerAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly bytes: Uint8Array
}

export interface ReplayGateway {
  /** Sends a request over a socket, for a chat completion where no path is given, and reads the answer to its end. */
  ask(body: Uint8Array, path?: string, type?: string): Promise<CallerAnswer>
  get(path: string): Promise<JsonObject>
  /** Waits until every call is in the books. Says what should not be: money or holds that are still held. */
  settled(): Promise<readonly string[]>
  receipt(id: string): Promise<Receipt | undefined>
  /** In nano-USD. */
  balance(): Promise<bigint>
  close(): Promise<void>
}

export interface ReplayGatewayOptions {
  readonly adapter: string
  readonly vendorUrl: string
  readonly models: readonly string[]
  readonly tokenizer: Tokenizer
}

/** A whole gateway on a port of its own, with books in memory and one vendor. */
export async function startReplayGateway({
  adapter,
  vendorUrl,
  models,
  tokenizer,
}: ReplayGatewayOptions): Promise<ReplayGateway> {
  const config = readConfig({ text: configText({ adapter, vendorUrl, models }), path: 'replay', env: {} })
  const crypto = openCrypto('replay')
  const key = crypto.secret(40)
  const faults: string[] = []
  const shared = openMemory({
    clock: systemClock,
    journal: noJournal,
    onAssertion: ({ message }) => faults.push(`a rule of the ledger broke: ${message}`),
  })
  const books = memoryBooks({ account: trialAccount, keys: [trialKey(crypto.keyHash(key))], balance: startingBalance })
  const { send, close: closeConnections } = openUndici()
  const catalog = buildCatalog(config)
  const log = (event: string, fields?: Readonly<Record<string, unknown>>) => {
    if (/^(internal_error|charge_failed|settle_deferred)$/.test(event))
      faults.push(`${event}: ${JSON.stringify(fields).slice(0, 300)}`)
  }
  const { gateway, idle } = await openGateway({
    config,
    books,
    shared,
    send,
    tokenizer,
    crypto,
    log,
    catalog: () => catalog,
  })
  const { server, port } = await listen({ gateway, checks: () => ({}), admin: [], host: '127.0.0.1', port: 0 })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })

  return {
    ask: (body, path = '/v1/chat/completions', type = 'application/json') =>
      exchange({ agent, port, key, method: 'POST', path, body, type }),
    async get(path) {
      const answer = await exchange({ agent, port, key, method: 'GET', path })
      const text = new TextDecoder().decode(answer.bytes)
      if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${text.slice(0, 300)}`)
      return JSON.parse(text) as JsonObject
    },
    async settled() {
      if (!(await within(idle(), drainMs))) faults.push('the work of a call does not end')
      if (!(await gateway.ledger.batcher.drained(drainMs))) faults.push('records did not reach the books')
      const account = await shared.account(trialAccount.id)
      const held = account?.purses.reduce((sum, purse) => sum + purse.held, 0n) ?? 0n
      const inFlight = (await shared.key(trialAccount.id, 1))?.inFlight ?? 0
      const { holds } = shared.size()
      if (held !== 0n || inFlight !== 0 || holds !== 0)
        faults.push(`still held: ${held} nano-USD, ${inFlight} calls in flight, ${holds} holds`)
      return faults.splice(0)
    },
    receipt: (id) => books.receipt({ accountId: trialAccount.id, keyId: 1, id }),
    balance: async () => (await books.balance(trialAccount.id))?.posted ?? 0n,
    async close() {
      agent.destroy()
      server.close()
      server.closeAllConnections()
      await within(idle(), drainMs)
      await closeConnections()
    },
  }
}

/** JSON is YAML. Each model is there twice: by its own name, and to be gathered from a stream. */
function configText({ adapter, vendorUrl, models }: Omit<ReplayGatewayOptions, 'tokenizer'>): string {
  const entries = models.flatMap((model) => {
    const common = { targets: [{ vendor: adapter, model }], prices: priceList(), max_output_tokens: 16_384 }
    return [
      [model, common],
      [gatheredName(model), { ...common, policies: { unstreamed: 'gathered' } }],
    ]
  })
  const vendor = { adapter, base_url: vendorUrl, api_keys: [vendorKey] }
  return JSON.stringify({ vendors: { [adapter]: vendor }, models: Object.fromEntries(entries) as unknown })
}

/** False where the work takes longer: a call that never ends must not keep a replay from its report. */
async function within(work: Promise<void>, ms: number): Promise<boolean> {
  const late = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => late.resolve(false), ms)
  const isInTime = await Promise.race([work.then(() => true), late.promise])
  clearTimeout(timer)
  return isInTime
}

interface Exchange {
  readonly agent: Agent
  readonly port: number
  readonly key: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: Uint8Array
  readonly type?: string
}

function exchange({
  agent,
  port,
  key,
  method,
  path,
  body,
  type = 'application/json',
}: Exchange): Promise<CallerAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<CallerAnswer>()
  const headers = {
    authorization: `Bearer ${key}`,
    ...(body && { 'content-type': type, 'content-length': body.length }),
  }
  const sent = request({ host: '127.0.0.1', port, path, method, headers, agent, timeout: longestCallMs }, (answer) => {
    const chunks: Buffer[] = []
    let size = 0
    answer.on('data', (chunk: Buffer) => {
      size += chunk.length
      chunks.push(chunk)
      if (size > maxAnswerBytes) answer.destroy(new Error(`the answer is larger than ${maxAnswerBytes} bytes`))
    })
    answer.once('error', reject)
    answer.once('end', () =>
      resolve({
        status: answer.statusCode ?? 0,
        headers: answer.headers,
        bytes: new Uint8Array(Buffer.concat(chunks)),
      }),
    )
  })
  sent.once('timeout', () => sent.destroy(new Error(`nothing came for ${longestCallMs} ms`)))
  sent.once('error', reject)
  sent.end(body)
  return promise
}
