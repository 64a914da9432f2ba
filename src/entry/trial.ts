import type { Config } from '../config.ts'
import type { Model } from '../core/catalog.ts'
import { fullPricePpm, priceSet } from '../core/price-set.ts'
import type { AccountRow, KeyRow } from '../ports.ts'

/** The one account of a gateway without a database. */
export const trialAccount: AccountRow = { id: 1, currency: 'USD', discountPpm: fullPricePpm, status: 'open' }

/** Its master key, by the hash of its text. */
export function trialKey(hash: string): KeyRow {
  return {
    id: 1,
    publicId: 'trial',
    kind: 'master',
    accountId: trialAccount.id,
    parentId: undefined,
    name: 'trial',
    hash,
    version: 1,
    models: undefined,
    budgets: [],
    requestsPerMinute: undefined,
    concurrency: undefined,
    expiresAtMs: undefined,
    revokedAtMs: undefined,
  }
}

const echo: Model = {
  name: 'sandbox/echo',
  targets: [{ vendor: 'sandbox', model: 'echo' }],
  prices: priceSet({
    currency: 'USD',
    nanos: { input: 1_000_000_000n, output: 2_000_000_000n },
    discountPpm: fullPricePpm,
  }),
  maxOutputTokens: 1_024,
  policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
  createdAtMs: 0,
  provisioned: true,
}

const sandboxVendor = {
  id: 'sandbox',
  adapter: 'sandbox',
  baseUrl: 'sandbox:',
  apiKeys: ['local'],
  limits: { connectMs: 1_000, firstByteMs: 10_000, idleMs: 10_000, totalMs: 60_000 },
}

/** The same configuration with nothing but the sandbox's echo. */
export function trialConfig(config: Config): Config {
  return { ...config, vendors: new Map([['sandbox', sandboxVendor]]), models: new Map([[echo.name, echo]]) }
}
