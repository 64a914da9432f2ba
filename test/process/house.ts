import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { parseMoney } from '../../src/core/money.ts'
import { openBooks } from '../../src/db/books.ts'
import { readJournal } from '../../src/platform/journal.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { type Asked, type Heard, streamCall, type StreamedCall } from '../support/caller.ts'
import { type GatewayProcess, startGatewayProcess } from '../support/process.ts'
import { type Behaviour, eventsOf, openStream } from '../support/vendor.ts'

/** What every caller of a house calls with. */
const key = 'master-key-of-the-crash-tests'
/** What his account has at first, in nano-units. */
export const balance = 100_000_000_000n
/** What `test-model` costs, in nano-units a token. */
const inputPrice = 1_000n
const outputPrice = 2_000n
const question = { model: 'test-model', messages: [{ role: 'user', content: 'Tell me a story of so many words.' }] }

/** A data folder, and a gateway on it as often as it is killed. */
export function newHouse(vendorUrl: string) {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-crash-'))
  const config = join(home, 'tollgate.yaml')
  writeFileSync(
    config,
    `
vendors:
  fake: { adapter: openai, base_url: '${vendorUrl}', api_keys: [vendor-secret] }
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
accounts:
  default: { starting_balance: 100 }
holds: { checkpoint_seconds: 1 }
`,
  )
  const data = join(home, 'data')
  return {
    start: () => startGatewayProcess({ TOLLGATE_CONFIG: config, TOLLGATE_DATA_DIR: data, TOLLGATE_MASTER_KEY: key }),
    /** What the journal would bring back now. */
    holds: () => readJournal(join(data, 'holds.journal')),
    /** What is wrong in the books, read when nobody has them. */
    async faults() {
      const database = await openPglite(join(data, 'pglite'))
      const found = await openBooks(database).check({ all: true })
      await database.close()
      return found
    },
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}

export type House = ReturnType<typeof newHouse>

export const story = (words: number) => Array.from({ length: words }, (_, at) => `word${at} `).join('')
/** With every second story the vendor says what it counted. */
export const usageOf = (words: number) => (words % 2 === 0 ? { prompt_tokens: 7, completion_tokens: words } : undefined)

/** Tells a story of as many words as `seed` says, one every few milliseconds. */
export const storyteller: Behaviour = async (call, response) => {
  const words = call.body['seed'] as number
  openStream(response)
  for (const event of eventsOf(story(words), usageOf(words))) {
    if (response.destroyed) return
    response.write(`data: ${event}\n\n`)
    await wait(5)
  }
  response.end('data: [DONE]\n\n')
}

/** Tells it at once, and keeps the line open. */
export const unfinished: Behaviour = (call, response) => {
  openStream(response)
  for (const event of eventsOf(story(call.body['seed'] as number)).slice(0, -1)) response.write(`data: ${event}\n\n`)
}

/** Asks for a story. */
export function askForStory({ url }: Pick<Asked, 'url'>, words: number): StreamedCall {
  return streamCall({ url, key, body: { ...question, seed: words } })
}

async function get<T>(gateway: GatewayProcess, path: string): Promise<T | undefined> {
  const answer = await fetch(gateway.url + path, { headers: { authorization: `Bearer ${key}` } }).catch((error) => {
    throw new Error(`${path} was not answered; the gateway said: ${gateway.out()}${gateway.error()}`, { cause: error })
  })
  const body = (await answer.json()) as T
  if (answer.status === 404) return undefined
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${JSON.stringify(body)}`)
  return body
}

/** The receipt of a call; undefined where the books know of none. */
export interface Receipt {
  readonly outcome: string
  readonly source: string
  readonly promptTokens: number
  readonly completionTokens: number
  readonly cost: bigint
}

interface ReceiptJson {
  readonly outcome: string
  readonly usage_source: string
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number }
  readonly cost: string
}

export async function receiptOf(gateway: GatewayProcess, { id }: Heard): Promise<Receipt | undefined> {
  const json = await get<ReceiptJson>(gateway, `/v1/generation?id=${id}`)
  if (!json) return undefined
  const { outcome, usage_source: source, usage, cost } = json
  const counts = { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens }
  return { outcome, source, ...counts, cost: nanosOf(cost) }
}

/** The account's balance and what is held of it, in nano-units. */
export async function creditsOf(gateway: GatewayProcess): Promise<{ balance: bigint; held: bigint }> {
  const credits = await get<{ balance: string; held: string }>(gateway, '/v1/credits')
  return { balance: nanosOf(credits?.balance), held: nanosOf(credits?.held) }
}

const nanosOf = (text: string | undefined) => parseMoney(text ?? '') ?? -1n

export function costOf(promptTokens: number, completionTokens: number): bigint {
  return BigInt(promptTokens) * inputPrice + BigInt(completionTokens) * outputPrice
}

/** Tokens of the question by the gateway's own count: a story of one word comes without the vendor's. */
export async function promptTokens(gateway: GatewayProcess): Promise<number> {
  const receipt = await receiptOf(gateway, await askForStory(gateway, 1).over)
  return receipt?.promptTokens ?? -1
}
