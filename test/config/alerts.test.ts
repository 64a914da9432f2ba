import { describe, expect, test } from 'vitest'
import { ConfigError, readConfig } from '../../src/config.ts'

const read = (text: string, env = {}) => readConfig({ text, path: 'c.yaml', env })

function faults(text: string): readonly string[] {
  try {
    read(text)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map((fault) => fault.replace(/^c\.yaml:\d+:\d+ /, ''))
    throw error
  }
  return []
}

describe('alerts', () => {
  test('go to the webhook that is named', () => {
    const text = `alerts: { webhook: { url: 'https://hooks.test/x?token=\${T}', authorization: 'Bearer \${T}' } }`
    expect(read(text, { T: 't1' }).alerts).toEqual({ url: 'https://hooks.test/x?token=t1', authorization: 'Bearer t1' })
  })

  test.each(['', 'alerts: {}', `alerts: { webhook: { url: '\${HOOK:-}', authorization: '\${T:-}' } }`])(
    'go nowhere with %j',
    (text) => {
      expect(read(text)).not.toHaveProperty('alerts')
    },
  )

  test.each(['ftp://hooks.test/', 'hooks.test', 'https://me:secret@hooks.test/', 'https://hooks.test/#x'])(
    'do not go to %s, and no fault shows it',
    (url) => {
      expect(faults(`alerts: { webhook: { url: '${url}' } }`)).toEqual([
        'alerts.webhook.url: must be http:// or https:// with a host, without user and fragment',
      ])
    },
  )
})

describe('what vendor keys are encrypted with', () => {
  test('comes from a program, newest first', () => {
    const text = 'vendor_keys: { unwrap: { command: [kms, decrypt], wrapped: abc, previous: xyz } }'
    expect(read(text).keySealing).toEqual({
      unwrap: { kind: 'command', command: ['kms', 'decrypt'] },
      wrapped: ['abc', 'xyz'],
    })
  })

  test('or from an address', () => {
    const text = 'vendor_keys: { unwrap: { url: "https://kms.test/unwrap", authorization: "Bearer a", wrapped: abc } }'
    expect(read(text).keySealing).toEqual({
      unwrap: { kind: 'url', url: 'https://kms.test/unwrap', authorization: 'Bearer a' },
      wrapped: ['abc'],
    })
  })

  test('and is absent where nobody says anything', () => {
    expect(read('vendor_keys: {}')).not.toHaveProperty('keySealing')
  })

  test.each([
    ['{ wrapped: abc }', 'vendor_keys.unwrap: must have either command or url'],
    ['{ command: [a], url: "https://kms.test/", wrapped: abc }', 'vendor_keys.unwrap: must have either command or url'],
    [
      '{ command: [], wrapped: abc }',
      'vendor_keys.unwrap.command: must be a program and its arguments, at most 64 of them',
    ],
    [
      '{ command: [a] }',
      'vendor_keys.unwrap.wrapped: is missing; it must be the wrapped key: printable ASCII without spaces',
    ],
  ])('is refused as %s', (unwrap, fault) => {
    expect(faults(`vendor_keys: { unwrap: ${unwrap} }`)).toContain(fault)
  })
})

test('how long an answer is kept in reserve is said for all, and for each model over that', () => {
  const text = `
vendors: { openai: { api_keys: [a] } }
defaults: { cache: { stale_seconds: 600 } }
models:
  a: { targets: [{ vendor: openai, model: x }], prices: { input: 1, output: 1 } }
  b: { targets: [{ vendor: openai, model: x }], prices: { input: 1, output: 1 }, cache: { stale_seconds: 0 } }`
  const { models } = read(text)
  expect([...models.values()].map(({ caching }) => caching?.staleMs)).toEqual([600_000, 0])
})
