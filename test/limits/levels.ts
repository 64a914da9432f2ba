import type { LimitAlgorithm, RateLimit } from '../../src/core/rate-limit.ts'
import type { Estate, MoreConfig } from '../process/estate.ts'

/** The levels at which calls are limited, each with callers whom only its own limit stops. */

/** Those that bind every call of a gateway: they are tried one by one, with nothing else. */
export const wideLevels = ['global', 'endpoint'] as const
export const levels = ['key', 'key above', 'account', 'tier', 'ip', 'model', 'vendor', 'vendor key'] as const
export type Level = (typeof levels)[number] | (typeof wideLevels)[number]

export const things = ['requests', 'tokens', 'concurrency'] as const
export type Thing = (typeof things)[number]

/** One limit, and how it is asked for. */
export interface Asker {
  readonly level: Level
  readonly of: Thing
  readonly key: string
  readonly model: string
  /** What a proxy says that it was asked by. */
  readonly from: string
}

export interface Limit {
  readonly of: Thing
  readonly limit: number
  readonly window?: RateLimit['window']
  readonly algorithm?: LimitAlgorithm
}

const plainModel = 'test-model'
const addressOf = (of: Thing): string => `203.0.113.${things.indexOf(of) + 1}`
/** Of whom nothing is limited. */
const anyAddress = '198.51.100.1'

/** The configuration of all levels but the wide ones, or of one of those. */
export function configOf(vendorUrl: string, limits: readonly Limit[], wide?: Level): MoreConfig {
  const line = (scope: string, limit: Limit, name?: string): string =>
    `    - ${JSON.stringify({ scope, ...(name !== undefined && { name }), ...limit })}`
  const shared = limits.flatMap((limit) => {
    const { of } = limit
    if (wide === 'global') return [line('global', limit)]
    if (wide === 'endpoint') return [line('endpoint', limit, 'chat')]
    return [
      line('ip', limit, addressOf(of)),
      line('model', limit, `model-${of}`),
      line('vendor', limit, `vendor-${of}`),
      line('vendor_key', limit, `keys-${of}/key-1`),
    ]
  })
  const tiers = limits.map(({ of, ...rest }) => {
    const tier = of === 'concurrency' ? { concurrency: rest.limit } : { limits: [{ of, ...rest }] }
    return `    tier-${of}: ${JSON.stringify(tier)}`
  })
  const names = things.flatMap((of) => [`vendor-${of}`, `keys-${of}`])
  return {
    vendors: names
      .map((name) => `  ${name}: { adapter: openai, base_url: '${vendorUrl}', api_keys: [secret] }`)
      .join('\n'),
    models: [
      ...things.map((of) => modelLine(`model-${of}`, 'fake')),
      ...names.map((name) => modelLine(`of-${name}`, name)),
    ].join('\n'),
    yaml: [
      'server: { trusted_proxies: [127.0.0.0/8], shutdown_grace_seconds: 2 }',
      'limits:',
      ...(tiers.length > 0 && !wide ? ['  tiers:', ...tiers] : []),
      ...(shared.length > 0 ? ['  shared:', ...shared] : []),
      '  shedding: { event_loop_ms: 60000 }',
    ].join('\n'),
  }
}

function modelLine(name: string, vendor: string): string {
  return `  ${name}: { targets: [{ vendor: ${vendor}, model: x }], prices: { input: 1, output: 2 } }`
}

/** Callers of a limit: a new account for each, so that no other limit has seen them. */
export async function askerOf(estate: Estate, level: Level, limit: Limit): Promise<Asker> {
  const { of } = limit
  const account = await newAccount(estate, `${level} ${of}`)
  const models: Partial<Record<Level, string>> = {
    model: `model-${of}`,
    vendor: `of-vendor-${of}`,
    'vendor key': `of-keys-${of}`,
  }
  const own = of === 'concurrency' ? { concurrency: limit.limit } : { limits: [limit] }
  if (level === 'account') await estate.admin('PATCH', `/admin/v1/accounts/${account}`, own)
  if (level === 'tier') await estate.admin('PATCH', `/admin/v1/accounts/${account}`, { tier: `tier-${of}` })
  const isLimited = level === 'key' || level === 'key above'
  const master = await newKey(estate, { kind: 'master', account, ...(isLimited && own) })
  const key = level === 'key above' ? await newKey(estate, { kind: 'sub', parent: master.id }) : master
  return {
    level,
    of,
    key: key.key,
    model: models[level] ?? plainModel,
    from: level === 'ip' ? addressOf(of) : anyAddress,
  }
}

/** A caller of whom nothing is limited but what binds every call. */
export async function strangerOf(estate: Estate): Promise<Asker> {
  const account = await newAccount(estate, 'stranger')
  const { key } = await newKey(estate, { kind: 'master', account })
  return { level: 'global', of: 'requests', key, model: plainModel, from: anyAddress }
}

let accounts = 0

async function newAccount(estate: Estate, name: string): Promise<number> {
  const made = await estate.admin('POST', '/admin/v1/accounts', { name: `${name} ${++accounts}` })
  const id = Number(made['id'])
  await estate.admin('POST', `/admin/v1/accounts/${id}/recharges`, { amount: '1000', reference: `of ${id}` })
  return id
}

async function newKey(estate: Estate, wanted: Readonly<Record<string, unknown>>) {
  const made = await estate.admin('POST', '/admin/v1/keys', { name: 'of a limit', ...wanted })
  return { id: String(made['id']), key: String(made['key']) }
}
