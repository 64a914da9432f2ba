import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseMoney, printMoney } from '../../src/core/money.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { postgresPrograms, type RealPostgres, startPostgres } from '../db/real-postgres.ts'
import { streamCall, type StreamedCall } from '../support/caller.ts'
import { type GatewayProcess, startGatewayProcess, until } from '../support/process.ts'
import { hasRedis, type RealRedis, startRedis } from '../support/real-redis.ts'

const managementKey = 'management-key-of-an-estate'

/** What `test-model` costs, in nano-units a token. */
const inputPrice = 1_000n
const outputPrice = 2_000n

/** Several gateways over one PostgreSQL and one Redis. */
export interface Estate {
  readonly postgres: RealPostgres
  readonly redis: RealRedis
  readonly gateways: GatewayProcess[]
  /** Another process in the place of one that is gone, on its data folder; or one more. */
  start(at: number): Promise<GatewayProcess>
  /** A master key of a new account with so much, in nano-units. */
  payer(nanos: bigint): Promise<string>
  credits(key: string, at?: number): Promise<{ readonly balance: bigint; readonly held: bigint }>
  receipt(key: string, id: string): Promise<Readonly<Record<string, unknown>> | undefined>
  ready(at: number): Promise<Readonly<Record<string, unknown>>>
  /** Asks the admin API as the operator. Throws with the answer's text where it is refused. */
  admin(method: string, path: string, body?: unknown): Promise<Readonly<Record<string, unknown>>>
  /** What gateways that are started from now on are configured with. */
  configure(more: MoreConfig): void
  /** The books, beside the gateways. */
  readonly books: DurableBooks
  remove(): Promise<void>
}

/** Whether there is what an estate needs. */
export const hasEstate = hasRedis && postgresPrograms !== undefined

/** More of a configuration: YAML lines, those of vendors and models indented by two. */
export interface MoreConfig {
  readonly vendors?: string
  readonly models?: string
  readonly yaml?: string
}

export interface EstateOptions extends MoreConfig {
  /** Beside what each gateway is started with. */
  readonly env?: Readonly<Record<string, string>>
}

export async function newEstate(
  vendorUrl: string,
  count: number,
  { env, ...more }: EstateOptions = {},
): Promise<Estate> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-estate-'))
  const config = join(home, 'tollgate.yaml')
  const configure = (wanted: MoreConfig) => writeFileSync(config, yamlOf(vendorUrl, wanted))
  configure(more)
  const [postgres, redis] = await Promise.all([startPostgres(postgresPrograms ?? ''), startRedis()])
  const databaseUrl = await postgres.create()
  const gateways: GatewayProcess[] = []
  const start = async (at: number): Promise<GatewayProcess> => {
    const gateway = await startGatewayProcess({
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA_DIR: join(home, `data-${at}`),
      TOLLGATE_MANAGEMENT_KEY: managementKey,
      TOLLGATE_SECRET: 'the secret of an estate',
      DATABASE_URL: databaseUrl,
      REDIS_URL: redis.url,
      ...env,
    })
    gateways[at] = gateway
    await until('a gateway that is ready', async () => (await readyOf(gateway)).status === 'ready' || undefined)
    return gateway
  }
  // One after another: the first brings the database up to date.
  for (let at = 0; at < count; at++) await start(at)
  const database = openPostgres(databaseUrl)
  const living = (at = 0) => gateways[at] ?? gateways[0]!
  return {
    postgres,
    redis,
    gateways,
    start,
    books: openBooks(database),
    payer: (nanos) => newPayer(living().url, nanos),
    async credits(key, at) {
      const { balance, held } = await ask(`${living(at).url}/v1/credits`, key)
      return { balance: nanosOf(balance), held: nanosOf(held) }
    },
    receipt: (key, id) => ask(`${living().url}/v1/generation?id=${id}`, key).catch(() => undefined),
    ready: (at) => readyOf(living(at)),
    admin: (method, path, body) => ask(`${living().url}${path}`, managementKey, { body, method }),
    configure,
    async remove() {
      await Promise.all(gateways.map((gateway) => gateway.kill('SIGKILL')))
      await database.close()
      await Promise.all([postgres.stop(), redis.stop()])
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function yamlOf(vendorUrl: string, { vendors = '', models = '', yaml = '' }: MoreConfig): string {
  return `
vendors:
  fake: { adapter: openai, base_url: '${vendorUrl}', api_keys: [vendor-secret] }
${vendors}
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
${models}
holds: { term_seconds: 6, checkpoint_seconds: 1 }
${yaml}
`
}

async function readyOf({ url }: GatewayProcess): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(`${url}/readyz`)
  return (await answer.json()) as Record<string, unknown>
}

async function ask(
  url: string,
  key: string,
  { body, method = body === undefined ? 'GET' : 'POST' }: { readonly body?: unknown; readonly method?: string } = {},
): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(url, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text}`)
  return JSON.parse(text) as Record<string, unknown>
}

let payers = 0

async function newPayer(url: string, nanos: bigint): Promise<string> {
  const name = `payer ${++payers}`
  const { id: account } = await ask(`${url}/admin/v1/accounts`, managementKey, { body: { name } })
  const recharge = { amount: printMoney(nanos), reference: name }
  await ask(`${url}/admin/v1/accounts/${String(account)}/recharges`, managementKey, { body: recharge })
  const { key } = await ask(`${url}/admin/v1/keys`, managementKey, { body: { kind: 'master', account, name } })
  return String(key)
}

/** Asks a gateway for a story of so many words. */
export function askForStory({ url }: GatewayProcess, key: string, words: number, model = 'test-model'): StreamedCall {
  const messages = [{ role: 'user', content: 'Tell me a story of so many words.' }]
  return streamCall({ url, key, body: { model, messages, seed: words } })
}

export function costOf(promptTokens: number, completionTokens: number): bigint {
  return BigInt(promptTokens) * inputPrice + BigInt(completionTokens) * outputPrice
}

function nanosOf(amount: unknown): bigint {
  const nanos = parseMoney(String(amount))
  if (nanos === undefined) throw new Error(`${String(amount)} is no amount of money`)
  return nanos
}
