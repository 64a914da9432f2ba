import { Hono } from 'hono'
import { createAuthenticator, type Authenticator } from '../../src/auth/authenticate.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { apiKey } from '../../src/db/schema.ts'
import { adminAccounts } from '../../src/http/admin-accounts.ts'
import { adminKeys } from '../../src/http/admin-keys.ts'
import type { Crypto } from '../../src/ports.ts'
import { openCrypto } from '../../src/platform/crypto.ts'
import { openPglite } from '../../src/platform/pglite.ts'
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

export const noonMs = Date.UTC(2030, 0, 1, 12)

export async function openOffice(): Promise<Office> {
  const database = await openPglite()
  await migrate(database, noonMs)
  const [books, crypto, clock] = [openBooks(database), openCrypto('a secret of this test'), handClock(noonMs)]
  const auth = createAuthenticator({ books, crypto, clock })
  const changes: number[] = []
  const recharges: number[] = []
  const recharged = (accountId: number): void => void recharges.push(accountId)
  const changed = (keyId: number): void => {
    auth.forget(keyId)
    changes.push(keyId)
  }
  const app = new Hono()
  for (const routes of [adminKeys, adminAccounts])
    app.route('/', routes({ database, books, crypto, clock, auth, changed, recharged }))
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
    management,
    ask,
    async refusal(...request) {
      const { status, body } = await ask(...request)
      return [status, body['code'], body['param'], body['message']]
    },
    close: () => database.close(),
  }
}
