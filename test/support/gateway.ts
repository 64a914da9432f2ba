import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../src/entry/serve.ts'

export const managementKey = 'management-key-for-tests'

export interface TestGatewayOptions {
  /** Base URL of the fake vendor, which stands for the vendor `fake` with the adapter named. */
  readonly vendorUrl: string
  readonly adapter?: string
  /** More vendors: YAML lines, indented by two. */
  readonly vendors?: string
  /** More of the model `test-model`: YAML lines, indented by four. */
  readonly model?: string
  /** More models: YAML lines, indented by two. */
  readonly models?: string
  /** More top-level YAML. */
  readonly yaml?: string
  readonly timeouts?: string
  readonly env?: Readonly<Record<string, string>>
}

/** One account with its master key. */
export interface TestAccount {
  readonly id: number
  readonly key: string
}

export interface TestGateway {
  readonly url: string
  /** Sends an admin request as the operator; throws with the answer's text when it is refused. */
  admin(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>
  /** A new account with this balance in USD, and its master key. */
  account(balance: string, key?: Record<string, unknown>): Promise<TestAccount>
  get(path: string, key: string): Promise<Record<string, unknown>>
  readonly log: readonly string[]
  close(): Promise<void>
}

/** `test-model` costs 1 USD per million input tokens and 2 USD per million output tokens. */
function yamlOf({
  vendorUrl,
  adapter = 'openai',
  vendors = '',
  model = '',
  models = '',
  yaml = '',
  timeouts = '',
}: TestGatewayOptions): string {
  return `
vendors:
  fake:
    adapter: ${adapter}
    base_url: ${vendorUrl}
    api_keys: [vendor-secret]
${timeouts}
  sandbox: {}
${vendors}
models:
  test-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, cached_input: 0.1, output: 2 }
    max_output_tokens: 4096
${model}
  unpriced-model:
    targets: [{ vendor: fake, model: vendor-model }]
  sandbox/echo:
    targets: [{ vendor: sandbox, model: echo }]
    prices: { input: 1, output: 2 }
${models}
${yaml}
`
}

let accounts = 0

/** A whole gateway in this process, with books of its own in PGlite, over a real socket. Takes some seconds. */
export async function startGateway(options: TestGatewayOptions): Promise<TestGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-test-'))
  const config = join(folder, 'tollgate.yaml')
  writeFileSync(config, yamlOf(options))
  const log: string[] = []
  const running = await run(
    {
      PORT: '0',
      HOST: '127.0.0.1',
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA_DIR: join(folder, 'data'),
      TOLLGATE_MANAGEMENT_KEY: managementKey,
      ...options.env,
    },
    (line) => log.push(line),
  )
  const { url } = running

  async function request(
    method: string,
    path: string,
    { key, body }: { key: string; body?: unknown },
  ): Promise<Record<string, unknown>> {
    const answer = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  }
  const admin = (method: string, path: string, body?: unknown) => request(method, path, { key: managementKey, body })

  return {
    url,
    admin,
    log,
    get: (path, key) => request('GET', path, { key }),
    async account(balance, key = {}) {
      const name = `account ${process.pid}-${++accounts}`
      const account = await admin('POST', '/admin/v1/accounts', { name })
      if (balance !== '0')
        await admin('POST', `/admin/v1/accounts/${account['id'] as number}/recharges`, {
          amount: balance,
          reference: name,
        })
      const made = await admin('POST', '/admin/v1/keys', { kind: 'master', account: account['id'], name, ...key })
      return { id: account['id'] as number, key: made['key'] as string }
    },
    async close() {
      await running.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
