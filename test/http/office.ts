import { Hono } from 'hono'
import { createAuthenticator, type Authenticator } from '../../src/auth/authenticate.ts'
import { readConfig } from '../../src/config.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { apiKey } from '../../src/db/schema.ts'
import { loadCatalog, provision } from '../../src/gateway/catalog.ts'
import { openCatalog, type LiveCatalog } from '../../src/gateway/live-catalog.ts'
import { keyOpener } from '../../src/gateway/vendor-key-rows.ts'
import { adminAccounts } from '../../src/http/admin-accounts.ts'
import { adminCatalog } from '../../src/http/admin-catalog.ts'
import { adminGrants } from '../../src/http/admin-grants.ts'
import { adminKeys } from '../../src/http/admin-keys.ts'
import { adminRefunds } from '../../src/http/admin-refunds.ts'
import { adminUsage } from '../../src/http/admin-usage.ts'
import { adminVendorKeys } from '../../src/http/admin-vendor-keys.ts'
import { selfUsage } from '../../src/http/self-usage.ts'
import type { Crypto } from '../../src/ports.ts'
import { openCrypto } from '../../src/platform/crypto.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { openSeal } from '../../src/platform/seal.ts'
import { handClock, type HandClock } from '../auth/books.ts'

export type Body = Readonly<Record<string, unknown>>
export interface Answer {
  readonly status: number
  readonly body: Body
}

/** The admin API on a database of its own, with one management key. */
export interface Office {
  readonly database: Database
  readonly books: DurableBooks
  readonly auth: Authenticator
  readonly crypto: Crypto
  readonly clock: HandClock
  /** Ids of the keys that were said to have changed. */
  readonly changes: number[]
  /** Ids of the accounts that were said to have been recharged. */
  readonly recharges: number[]
  /** What calls would be served by. */
  readonly catalog: LiveCatalog
  readonly management: string
  ask(
    method: string,
    path: string,
    options?: { readonly key?: string; readonly body?: unknown; readonly raw?: string | Uint8Array<ArrayBuffer> },
  ): Promise<Answer>
  /** What the same request is refused with. */
  refusal(
    ...request: Parameters<Office['ask']>
  ): Promise<readonly [status: number, code: unknown, param: unknown, message: unknown]>
  close(): Promise<void>
}

/** What vendor keys of the office were encrypted with before. */
export const earlierSecret = 'an earlier secret of this test'

export const noonMs = Date.UTC(2030, 0, 1, 12)

/** `yaml` is the configuration file, of which the office needs the vendors and models. */
export async function openOffice(yaml = ''): Promise<Office> {
  const database = await openPglite()
  await migrate(database, noonMs)
  const config = readConfig({ text: yaml, path: 'office.yaml', env: {} })
  await provision(database, config)
  const seal = openSeal('a secret of this test', [earlierSecret])
  const openKey = keyOpener(seal, () => {})
  const catalog = await openCatalog(() => loadCatalog(database, config, openKey))
  const [crypto, clock] = [openCrypto('a secret of this test'), handClock(noonMs)]
  const books = openBooks(database, { now: () => clock.now() })
  const auth = createAuthenticator({ books, crypto, clock })
  const changes: number[] = []
  const recharges: number[] = []
  const recharged = (accountId: number): void => void recharges.push(accountId)
  const changed = (keyId: number): void => {
    auth.forget(keyId)
    changes.push(keyId)
  }
  const app = new Hono()
  const deps = {
    database,
    books,
    crypto,
    seal,
    clock,
    auth,
    changed,
    recharged,
    fresh: () => Promise.resolve(),
    policies: config.policies,
    catalog: catalog.current,
    catalogChanged: () => catalog.reload(),
  }
  for (const routes of [
    adminKeys,
    adminAccounts,
    adminGrants,
    adminCatalog,
    adminVendorKeys,
    adminRefunds,
    adminUsage,
    selfUsage,
  ])
    app.route('/', routes(deps))
  app.onError((caught, c) => {
    const { status, code, param, message } = GatewayError.from(caught)
    if (code === 'internal') console.error(caught)
    return c.json({ code, param, message }, status as 400)
  })
  const management = 'management-key-of-this-test'
  await database.drizzle
    .insert(apiKey)
    .values({ publicId: 'manager', kind: 'management', hash: crypto.keyHash(management), provisioned: true })

  const ask: Office['ask'] = async (method, path, { key = management, body, raw } = {}) => {
    const response = await app.request(path, {
      method,
      headers: key === '' ? {} : { authorization: `Bearer ${key}` },
      ...(raw !== undefined && { body: raw }),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as Body }
  }
  return {
    database,
    books,
    auth,
    crypto,
    clock,
    changes,
    recharges,
    catalog,
    management,
    ask,
    async refusal(...request) {
      const { status, body } = await ask(...request)
      return [status, body['code'], body['param'], body['message']]
    },
    close: () => database.close(),
  }
}
