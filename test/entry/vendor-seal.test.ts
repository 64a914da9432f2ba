import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { vendor, vendorKey } from '../../src/db/schema.ts'
import { resealVendorKeys, withDatabase } from '../../src/entry/commands.ts'
import { migrateDatabase } from '../../src/entry/commands.ts'
import { openVendorSeal } from '../../src/entry/vendor-seal.ts'
import { openSeal } from '../../src/platform/seal.ts'

const own = 'the secret of the gateway'
const [today, before] = ['the secret of today', 'the secret before it']
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

const sealOf = (text: string, env: Record<string, string>) =>
  openVendorSeal(readConfig({ text, path: 'c.yaml', env: { TOLLGATE_SECRET: own, ...env } }))
const echo = `process.stdin.on('data', (text) => console.log('unwrapped from ' + text))`
const service = (more: string) =>
  `vendor_keys: { unwrap: { command: ['${process.execPath}', '-e', "${echo}"], wrapped: newest, ${more} } }`

describe('vendor keys are encrypted with', () => {
  test.each([
    ['the gateway’s own secret, where nothing else is given', '', {}, own, [own]],
    ['a secret for it', '', { TOLLGATE_VENDOR_KEY_SECRET: today }, today, [today, own]],
    [
      'the secret of today, and that of before still opens',
      '',
      { TOLLGATE_VENDOR_KEY_SECRET: today, TOLLGATE_VENDOR_KEY_SECRET_PREVIOUS: before },
      today,
      [today, before, own],
    ],
    [
      'the gateway’s own again, where only the one before is named',
      '',
      { TOLLGATE_VENDOR_KEY_SECRET_PREVIOUS: before },
      own,
      [before],
    ],
    ['what a service unwraps', service(''), {}, 'unwrapped from newest', [own]],
    [
      'the newest of what a service unwraps',
      service('previous: older'),
      { TOLLGATE_VENDOR_KEY_SECRET: today },
      'unwrapped from newest',
      ['unwrapped from older', today, own],
    ],
  ])('%s', async (_, text, env, newest, opening) => {
    const seal = await sealOf(text, env)
    expect(openSeal(newest).open(seal.seal('sk', 'a'), 'a')).toBe('sk')
    for (const secret of opening) expect(seal.open(openSeal(secret).seal('sk', 'a'), 'a')).toBe('sk')
  })
})

describe('the command vendor-keys reseal', () => {
  test('encrypts all keys anew, and fails where one cannot be opened', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tollgate-reseal-'))
    folders.push(folder)
    writeFileSync(join(folder, 'tollgate.yaml'), 'vendors: { openai: { api_keys: [] } }')
    const env = {
      TOLLGATE_CONFIG: join(folder, 'tollgate.yaml'),
      TOLLGATE_DATA_DIR: join(folder, 'data'),
      TOLLGATE_SECRET: own,
    }
    await migrateDatabase(env)
    const add = (name: string, secret: string) =>
      withDatabase(env, async ({ drizzle }) => {
        await drizzle.insert(vendor).values({ id: 'openai', adapter: 'openai', baseUrl: '' }).onConflictDoNothing()
        await drizzle
          .insert(vendorKey)
          .values({ vendor: 'openai', name, sealed: openSeal(secret).seal('sk', `vendor_key openai ${name}`) })
      })
    await add('a', own)
    const renewed = { ...env, TOLLGATE_VENDOR_KEY_SECRET: today }
    expect(await resealVendorKeys(renewed)).toEqual({
      text: '1 encrypted anew, 0 were already, 0 cannot be opened.\n',
      isWell: true,
    })
    await add('b', 'a secret that nobody has')
    expect(await resealVendorKeys(renewed)).toEqual({
      text: '0 encrypted anew, 1 were already, 1 cannot be opened.\n',
      isWell: false,
    })
  })
})
