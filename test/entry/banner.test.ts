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
  test('says that REDIS_URL is not used', () => {
    expect(shown({ REDIS_URL: 'redis://127.0.0.1:6379' })).toBe(
      'Tollgate serves http://localhost:1\n\nREDIS_URL is set and not used: shared state is in this process, and one gateway serves one database.\n\nVendors that are set up: sandbox\n\n',
    )
  })

  test('says nothing of Redis without it', () => {
    expect(shown({})).toBe('Tollgate serves http://localhost:1\n\nVendors that are set up: sandbox\n\n')
  })
})
