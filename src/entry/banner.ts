import type { Config } from '../config.ts'
import type { Seeded } from '../gateway/seed.ts'

export interface BannerFacts {
  readonly config: Config
  readonly seeded: Seeded
  readonly url: string
  readonly kind: 'postgres' | 'pglite'
}

/** The keys that were made just now. Nobody can ever see them again. */
export function newKeys({ managementKey, masterKey }: Seeded): string {
  const lines = [
    ...(managementKey === undefined ? [] : [`Management key (shown once):  ${managementKey}`]),
    ...(masterKey === undefined ? [] : [`Master key (shown once):      ${masterKey}`]),
  ]
  return lines.length === 0 ? '' : `${lines.join('\n')}\n\n`
}

/** What a person sees at the start: where the gateway is, and a first call to paste. */
export function banner({ config, seeded, url, kind }: BannerFacts): string {
  const lines = [`Tollgate serves ${url}`, '']
  if (kind === 'pglite')
    lines.push(
      `The books are in ${config.dataDir} (PGlite: they survive a killed process, not a power cut;`,
      'set DATABASE_URL for PostgreSQL in production).',
      '',
    )
  if (config.redisUrls)
    lines.push('Holds and limits are in Redis: any number of gateways may serve this database with it.', '')
  const live = [...config.vendors.values()].filter(({ apiKeys }) => apiKeys.length > 0).map(({ id }) => id)
  lines.push(`Vendors that are set up: ${live.join(', ') || 'none'}`)
  if (seeded.masterKey !== undefined) lines.push('', ...example(url, seeded.masterKey))
  return `${lines.join('\n')}\n\n`
}

function example(url: string, key: string): string[] {
  return [
    'Try it:',
    `  curl ${url}/v1/chat/completions \\`,
    `    -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\`,
    `    -d '{"model":"sandbox/echo","messages":[{"role":"user","content":"Hello"}]}'`,
    '',
    'or with the OpenAI SDK:',
    `  const client = new OpenAI({ baseURL: '${url}/v1', apiKey: '${key}' })`,
    `  await client.chat.completions.create({ model: 'sandbox/echo', messages: [{ role: 'user', content: 'Hello' }] })`,
  ]
}
