import { describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { banner } from '../../src/entry/banner.ts'

const text = 'vendors:\n  sandbox: {}\n'
const seeded = { masterKey: undefined, managementKey: undefined }
const shown = (env: Record<string, string>) =>
  banner({
    config: readConfig({ text, path: 'tollgate.yaml', env }),
    seeded,
    url: 'http://localhost:1',
    kind: 'postgres',
  })

describe('the start', () => {
  test('says where holds are kept with REDIS_URL', () => {
    const env = { REDIS_URL: 'redis://127.0.0.1:6379', DATABASE_URL: 'postgres://127.0.0.1/books' }
    expect(shown(env)).toBe(
      'Tollgate serves http://localhost:1\n\nHolds and limits are in Redis: any number of gateways may serve this database with it.\n\nVendors that are set up: sandbox\n\n',
    )
  })

  test('is refused with REDIS_URL and without DATABASE_URL', () => {
    expect(() => shown({ REDIS_URL: 'redis://127.0.0.1:6379' })).toThrow('REDIS_URL: needs a DATABASE_URL')
  })

  test('says nothing of Redis without it', () => {
    expect(shown({})).toBe('Tollgate serves http://localhost:1\n\nVendors that are set up: sandbox\n\n')
  })
})
