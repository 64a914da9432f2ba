import { describe, expect, test } from 'vitest'
import { ConfigError, readConfig } from '../../src/config.ts'
import { keysOf } from '../../src/core/routing.ts'

const base = `
vendors:
  openai: { api_keys: [a, b] }
  deepseek: { keys: [{ name: batch, key: c, models: ['deep*'], scenarios: [night], priority: vip, region: eu }, { name: unset, key: '' }] }
`
const read = (more: string, env = {}) => readConfig({ text: base + more, path: 'c.yaml', env })
const modelOf = (fields: string, more = '') =>
  read(`${more}
models:
  m:
    targets: [{ vendor: openai, model: x }]
    prices: { input: 1, output: 2 }
    ${fields}`).models.get('m')

function faults(fields: string): readonly string[] {
  try {
    modelOf(fields)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map((fault) => fault.replace(/^c\.yaml:\d+:\d+ /, ''))
    throw error
  }
  return []
}

describe('the routing of a model', () => {
  test('is absent where nobody says anything', () => {
    expect(modelOf('')).not.toHaveProperty('routing')
  })

  test('is its own over the defaults, field by field', () => {
    const defaults = 'defaults: { routing: { strategy: cost, retries: 2, hedge_ms: 700 } }'
    expect(
      modelOf(
        'routing: { strategy: weighted, fallbacks: [other], canary: { target: openai/x, percent: 2.5 } }',
        defaults,
      )?.routing,
    ).toEqual({
      strategy: 'weighted',
      weights: { cost: 40, performance: 30, quality: 30 },
      canary: { target: 'openai/x', percent: 2.5 },
      explorePercent: 1,
      retries: 2,
      hedgeMs: 700,
      fallbacks: ['other'],
    })
  })

  test.each([
    [
      'routing: { strategy: best }',
      'models.m.routing.strategy: must be one of: priority, score, cost, latency, quality, weighted, least-busy',
    ],
    ['routing: { weights: { cost: 0 } }', 'models.m.routing.weights: must hold at least one weight above 0'],
    ['routing: { retries: 4 }', 'models.m.routing.retries: must be a whole number from 0 to 3'],
    [
      'routing: { explore_percent: 101 }',
      'models.m.routing.explore_percent: must be a percentage from 0 to 100 with at most four decimals',
    ],
    [
      'routing: { canary: { target: openai/y, percent: 1 } }',
      'models.m.routing.canary.target: names no target of this model',
    ],
  ])('is refused: %s', (fields, fault) => {
    expect(faults(fields)).toEqual([fault])
  })
})

test('a target says what it costs and what it can do', () => {
  const { models } = read(`
models:
  m:
    targets: [{ vendor: openai, model: x, costs: { input: 0.5, output: 1 }, weight: 3, quality: 70, context_tokens: 9000, max_output_tokens: 100, timeouts: { idle_ms: 5, total_ms: 90000 } }]`)
  expect(models.get('m')?.targets).toEqual([
    {
      vendor: 'openai',
      model: 'x',
      costs: expect.objectContaining({
        currency: 'USD',
        nanos: { input: 500_000_000n, output: 1_000_000_000n },
      }) as unknown,
      weight: 3,
      quality: 70,
      contextTokens: 9_000,
      limits: { idleMs: 5, totalMs: 90_000 },
      maxOutputTokens: 100,
    },
  ])
})

test('plain keys serve every call, and classed ones are beside them', () => {
  const { vendors } = read('')
  const shown = [...vendors.values()].map((entry) => [
    entry.id,
    entry.apiKeys,
    keysOf(entry).map(({ id, priority }) => [id, priority]),
  ])
  expect(shown).toEqual([
    [
      'openai',
      ['a', 'b'],
      [
        ['key-1', 'normal'],
        ['key-2', 'normal'],
      ],
    ],
    ['deepseek', ['c'], [['batch', 'vip']]],
  ])
  expect(keysOf(vendors.get('deepseek') ?? { apiKeys: [] })).toEqual([
    { id: 'batch', secret: 'c', models: ['deep*'], scenarios: ['night'], priority: 'vip', region: 'eu' },
  ])
})

test('probes are off unless they are asked for', () => {
  expect([read('').probeMs, read('probes: { every_seconds: 5 }').probeMs]).toEqual([undefined, 5_000])
})

describe('what a caller hears meanwhile', () => {
  test.each([
    ['', { silenceMs: 15_000 }],
    ['keep_alive: { silence_ms: 0 }', {}],
    [
      'keep_alive: { silence_ms: 5000, commit_stream_ms: 25000, commit_body_ms: 30000 }',
      { silenceMs: 5_000, commitStreamMs: 25_000, commitBodyMs: 30_000 },
    ],
  ])('is as the file says: %s', (text, rules) => {
    expect(read(text).keepAlive).toEqual(rules)
  })
})
