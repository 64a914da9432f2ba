import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ConfigError, configPath, readConfig, type Config } from '../src/config.ts'
import { unitNames } from '../src/core/price.ts'
import { vendorKeyText } from '../src/core/vendor-key-text.ts'
import { root } from './source.ts'
import { addresses } from '../src/vendors/addresses.ts'

type Env = Record<string, string>

const read = (text: string, env: Env = {}): Config => readConfig({ text, path: 'x.yaml', env })

function faults(text: string, env: Env = {}): readonly string[] {
  try {
    read(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

const vendors = `
vendors:
  openai: { api_keys: [k] }
`
const modelOf = (fields: string): string =>
  `${vendors}models:\n  m:\n    targets: [{ vendor: openai, model: v }]\n    ${fields}`
const price = 'must be a price per million tokens from 0 to 999999 with at most nine decimals, such as "0.15"'

describe('an empty file', () => {
  test('is a gateway with nothing to offer and every default', () => {
    expect(read('')).toEqual({
      server: { host: '0.0.0.0', port: 8787, bodyLimitBytes: 33_554_432, shutdownGraceMs: 25_000, trustedProxies: [] },
      vendors: new Map(),
      models: new Map(),
      accounts: new Map(),
      limits: { tiers: new Map(), shared: [], shedding: { eventLoopMs: 200, calls: 10_000 } },
      exchange: [],
      policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
      cache: { memoryBytes: 67_108_864, memoryEntries: 10_000, redisBytes: 67_108_864, isInDatabase: false },
      idempotency: { whileRunning: 'wait', waitMs: 60_000, keepHours: 24 },
      keepAlive: { silenceMs: 15_000 },
      holds: { firstOutputTokens: 1024, cap: undefined, termMs: 30_000, checkpointMs: 2_000 },
      dataDir: './data',
      masterKey: undefined,
      managementKey: undefined,
      secret: undefined,
      databaseUrl: undefined,
      redisUrls: undefined,
      workers: 1,
      migrationDatabaseUrl: undefined,
      vendorKeySecret: undefined,
      previousVendorKeySecret: undefined,
    })
  })

  test('may have sections with nothing in them', () => {
    expect(read('server:\nvendors:\nmodels:\naccounts:\nholds:\n')).toEqual(read(''))
  })
})

describe('what a file says', () => {
  test('is a vendor with its adapter, address, keys and time limits', () => {
    const text = `
vendors:
  deepseek: { api_keys: ['a', '', 'b', 'a'] }
  mine: { adapter: openai, base_url: 'http://10.0.0.7:8000/v1/', api_keys: [c], timeouts: { idle_ms: 7 } }
  sandbox: {}
`
    const limits = { connectMs: 5_000, firstByteMs: 300_000, idleMs: 300_000, totalMs: 1_800_000 }
    expect([...read(text).vendors.values()]).toEqual([
      { id: 'deepseek', adapter: 'deepseek', baseUrl: 'https://api.deepseek.com', apiKeys: ['a', 'b'], limits },
      {
        id: 'mine',
        adapter: 'openai',
        baseUrl: 'http://10.0.0.7:8000/v1',
        apiKeys: ['c'],
        limits: { ...limits, idleMs: 7 },
      },
      { id: 'sandbox', adapter: 'sandbox', baseUrl: 'sandbox:', apiKeys: ['local'], limits },
    ])
  })

  test('is a model with targets, exact prices and policies over the defaults', () => {
    const text = `
vendors: { openai: { api_keys: [k] } }
defaults: { policies: { client_abort: drain } }
models:
  gpt-x:
    targets: [{ vendor: openai, model: v1, region: eu }, { vendor: openai, model: v2 }]
    prices: { currency: EUR, input: 0.15, cached_input: '0.000000001', output: 1e-7, request: 999999 }
    max_output_tokens: 10
    policies: { unstreamed: whole }
`
    expect(read(text).models.get('gpt-x')).toEqual({
      name: 'gpt-x',
      targets: [
        { vendor: 'openai', model: 'v1', region: 'eu' },
        { vendor: 'openai', model: 'v2' },
      ],
      prices: {
        id: 'EUR:input=150000000,cached_input=1,output=100,request=999999000000000;d=1000000',
        currency: 'EUR',
        nanos: { input: 150_000_000n, cached_input: 1n, output: 100n, request: 999_999_000_000_000n },
        discountPpm: 1_000_000,
      },
      maxOutputTokens: 10,
      policies: { unstreamed: 'whole', clientAbort: 'drain', abortBeforeContent: 'free' },
      createdAtMs: 0,
      provisioned: true,
    })
  })

  test('has weights for packages, in millionths', () => {
    const text = modelOf('token_weights: { output: 2.5, image: "1000000", search: 0.000001 }')
    expect(read(text).models.get('m')?.tokenWeights).toEqual({
      output: 2_500_000,
      image: 1_000_000_000_000,
      search: 1,
    })
  })

  test.each(['0', '-1', '1000000.1', '0.0000001', 'much'])('has no weight of %s', (weight) => {
    expect(() => read(modelOf(`token_weights: { output: ${weight} }`))).toThrow('must be a number of tokens above 0')
  })

  test('is rates beside the plain price, by length, service tier, hour and region, each with the markup', () => {
    const text = modelOf(`prices:
      input: 1
      output: 2
      markup_percent: 10
      tiers:
        - { above: 200000, input: 2, service_tiers: { priority: { input: 4 } } }
        - { from: '1000', output: 3 }
      service_tiers: { flex: { input: 0.5, output: '0.000000001' } }
      off_peak: [{ from: '16:30', to: 00:30, days: [sun, mon], input: 0.25 }]
      regions: { eu: 1.1 }`)
    expect(read(text).models.get('m')?.prices).toEqual({
      id: 'USD:input=1100000000,output=2200000000;d=1000000;r=1c891b9fdea22d88d89882c786c679ff',
      currency: 'USD',
      nanos: { input: 1_100_000_000n, output: 2_200_000_000n },
      discountPpm: 1_000_000,
      rates: [
        { when: { region: 'eu' }, nanos: {}, tokensPpm: 1_100_000 },
        { when: { hours: { fromMinute: 990, toMinute: 30, days: [0, 1] } }, nanos: { input: 275_000_000n } },
        { when: { service: 'flex' }, nanos: { input: 550_000_000n, output: 2n } },
        { when: { fromTokens: 1_000 }, nanos: { output: 3_300_000_000n } },
        { when: { fromTokens: 200_001 }, nanos: { input: 2_200_000_000n } },
        { when: { fromTokens: 200_001, service: 'priority' }, nanos: { input: 4_400_000_000n } },
      ],
    })
  })

  test('is rates of exchange as fractions in lowest terms', () => {
    const text = "exchange_rates: [{ from: USD, to: CNY, rate: '7.25', version: '2026-07-24' }]"
    expect(read(text).exchange).toEqual([{ from: 'USD', to: 'CNY', num: 29n, den: 4n, version: '2026-07-24' }])
  })

  test('is a model that is free in every unit', () => {
    const prices = read(modelOf('free: true')).models.get('m')?.prices
    expect(prices?.nanos).toEqual(Object.fromEntries(unitNames.map((unit) => [unit, 0n])))
  })

  test('is a model without prices, which is not the same as a free one', () => {
    expect(read(modelOf('')).models.get('m')?.prices).toBeUndefined()
  })

  test('is an account with its balance and discount', () => {
    const text = 'accounts: { acme: { currency: EUR, starting_balance: "12.5", discount_percent: 12.5 } }'
    expect(read(text).accounts).toEqual(
      new Map([['acme', { currency: 'EUR', startingBalance: 12_500_000_000n, discountPpm: 875_000 }]]),
    )
  })

  test('cannot be changed afterwards', () => {
    const { server, models } = read(modelOf(''))
    expect([Object.isFrozen(server), Object.isFrozen(models.get('m')?.targets[0])]).toEqual([true, true])
  })

  test('may be shared by anchors', () => {
    const text = `${vendors}models:
  a: { targets: &here [{ vendor: openai, model: v }], prices: &cheap { input: 1, output: 2 } }
  b: { targets: *here, prices: *cheap }`
    const { models } = read(text)
    expect(models.get('b')).toEqual({ ...models.get('a'), name: 'b' })
  })
})

describe('the environment', () => {
  test('fills in references, with defaults for what is missing or empty', () => {
    const text = `
server: { host: 'h-\${A}', port: '\${P:-9000}' }
vendors:
  openai: { api_keys: ['\${A}', '\${B:-}', '\${EMPTY:-c}', '$\${A}'] }
`
    const { server, vendors: found } = read(text, { A: 'a', EMPTY: '' })
    expect([server.host, server.port, found.get('openai')?.apiKeys]).toEqual(['h-a', 9000, ['a', 'c', '${A}']])
  })

  test('turns a vendor off whose keys are all empty, without a fault', () => {
    expect(read("vendors: { openai: { api_keys: ['${K:-}', ''] } }").vendors.get('openai')?.apiKeys).toEqual([])
  })

  test('comes before the file, and gives what no file holds', () => {
    const env = {
      PORT: '0',
      HOST: '127.0.0.1',
      TOLLGATE_DATA_DIR: '/d',
      TOLLGATE_MASTER_KEY: 'sk-tg-master-0123456789',
      TOLLGATE_MANAGEMENT_KEY: 'sk-tg-manage-0123456789',
      TOLLGATE_SECRET: 'a secret of 16 ch',
      DATABASE_URL: 'postgres://u:p@h/d',
      REDIS_URL: 'rediss://h',
      REDIS_COMMAND_MS: '250',
    }
    expect(read('server: { port: 5, host: h }', env)).toEqual({
      ...read(''),
      server: { ...read('').server, host: '127.0.0.1', port: 0 },
      dataDir: '/d',
      masterKey: 'sk-tg-master-0123456789',
      managementKey: 'sk-tg-manage-0123456789',
      secret: 'a secret of 16 ch',
      databaseUrl: 'postgres://u:p@h/d',
      redisUrls: ['rediss://h'],
      redisCommandMs: 250,
    })
  })

  test('says where the file is', () => {
    expect([configPath({}), configPath({ TOLLGATE_CONFIG: 'y.yaml' })]).toEqual(['config/tollgate.yaml', 'y.yaml'])
  })

  const key = 'must be 16 to 512 characters of A-Z, a-z, 0-9, "_", "." and "-"'
  test.each<[string, string, string]>([
    ['PORT', '65536', 'must be a whole number from 0 to 65535'],
    ['PORT', '8787x', 'must be a whole number from 0 to 65535'],
    ['REDIS_COMMAND_MS', '9', 'must be a whole number of milliseconds from 10 to 99999'],
    ['HOST', 'a b', 'must be an address or a host name'],
    ['TOLLGATE_MASTER_KEY', 'fifteen-letters', key],
    ['TOLLGATE_MASTER_KEY', 'sixteen letters!', key],
    ['TOLLGATE_MANAGEMENT_KEY', 'x'.repeat(513), key],
    ['TOLLGATE_SECRET', 'short', 'must be at least 16 printable ASCII characters'],
    ['DATABASE_URL', 'mysql://u:hunter2@h', 'must be an address that begins with postgres:// or postgresql://'],
    [
      'REDIS_URL',
      'h:6379',
      'must be an address that begins with redis:// or rediss://, or several of a cluster with commas between them',
    ],
  ])('with %s = "%s" is a fault', (name, value, why) => {
    expect(faults('', { [name]: value })).toEqual([`environment ${name}: ${why}`])
  })

  test.each([
    ['1', 1],
    ['64', 64],
    ['auto', 'auto'],
  ])('WORKERS=%s is %s processes', (value, workers) => {
    const shared = { DATABASE_URL: 'postgres://h/d', REDIS_URL: 'redis://h' }
    expect(read('', { ...shared, WORKERS: value }).workers).toBe(workers)
  })

  test.each(['0', '65', '2.5', 'all'])('WORKERS=%s is a fault', (value) => {
    expect(faults('', { WORKERS: value })).toEqual([
      'environment WORKERS: must be a whole number from 1 to 64, or auto',
    ])
  })

  test.each(['2', 'auto'])('WORKERS=%s without a Redis is a fault', (value) => {
    expect(faults('', { WORKERS: value, DATABASE_URL: 'postgres://h/d' })).toEqual([
      'environment WORKERS: needs REDIS_URL and DATABASE_URL, because processes share holds and books by them',
    ])
  })

  test('with one key for both purposes is a fault', () => {
    const both = 'the-same-key-for-both'
    expect(faults('', { TOLLGATE_MASTER_KEY: both, TOLLGATE_MANAGEMENT_KEY: both })).toEqual([
      'environment TOLLGATE_MANAGEMENT_KEY: must differ from TOLLGATE_MASTER_KEY',
    ])
  })
})

describe('the key of a vendor', () => {
  const json =
    '{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\\nAA==\\n-----END PRIVATE KEY-----"}'
  const keysIn = (yaml: string, env: Env) => read(yaml, env).vendors.get('vertex')?.apiKeys

  test('may be the JSON of a credential, on one line whatever its own lines are', () => {
    const laid = JSON.stringify(JSON.parse(json), undefined, 2)
    const yaml = "vendors: { vertex: { api_keys: ['${ACCOUNT}'], keys: [{ name: own, key: '${OTHER}' }] } }"
    expect(keysIn(yaml, { ACCOUNT: laid, OTHER: `${json}\n` })).toEqual([json, json])
  })

  test('that is no JSON, though it begins so, still fits on one line', () => {
    expect(keysIn("vendors: { vertex: { api_keys: ['${ACCOUNT}'] } }", { ACCOUNT: '{"a":\r\n 1' + '}}' })).toEqual([
      '{"a": 1}}',
    ])
  })

  test.each([
    ['two words', 'two words'],
    ['a line break', 'one\ntwo'],
    ['JSON that is too long', `{${' '.repeat(8_193)}}`],
    ['JSON with a character that no header can carry', '{"a":"é"}'],
  ])('is not: %s', (_, key) => {
    expect(faults("vendors: { vertex: { api_keys: ['${KEY}'] } }", { KEY: key })).toEqual([
      `x.yaml:1:33 vendors.vertex.api_keys[0]: ${vendorKeyText.rule}`,
    ])
  })
})

describe('a fault', () => {
  test.each<[string, string, string[]]>([
    [
      'an unknown section',
      'servers: {}',
      [
        'x.yaml:1:1 servers: is not known here; known are: server, vendors, models, accounts, exchange_rates, defaults, cache, idempotency, limits, keep_alive, alerts, vendor_keys, probes, holds',
      ],
    ],
    [
      'an unknown field',
      'server:\n  prot: 1',
      [
        'x.yaml:2:3 server.prot: is not known here; known are: host, port, body_limit_bytes, shutdown_grace_seconds, trusted_proxies',
      ],
    ],
    [
      'a number out of range',
      'server:\n  port: 65536',
      ['x.yaml:2:9 server.port: must be a whole number from 0 to 65535'],
    ],
    [
      'a number with a fraction',
      'server: { port: 1.5 }',
      ['x.yaml:1:17 server.port: must be a whole number from 0 to 65535'],
    ],
    ['a list for a map', 'vendors: [a]', ['x.yaml:1:10 vendors: must be a map of at most 100 names']],
    [
      'no map at all',
      '- a',
      [
        'x.yaml:1:1 file: must be a map with: server, vendors, models, accounts, exchange_rates, defaults, cache, idempotency, limits, keep_alive, alerts, vendor_keys, probes, holds',
      ],
    ],
    [
      'a variable that is not set',
      "vendors:\n  openai: { api_keys: ['${NOPE}'] }",
      [
        'x.yaml:2:24 vendors.openai.api_keys[0]: refers to NOPE, which is not set: set it, or write ${NOPE:-} to allow that',
      ],
    ],
    [
      'a reference that is none',
      "server: { host: '${}' }",
      [
        'x.yaml:1:17 server.host: is not a reference to the environment: write ${NAME} or ${NAME:-default}, or $${ for a plain ${',
      ],
    ],
    ['a name twice', 'server: {}\nserver: {}', ['x.yaml:2:1 server: stands twice in the same map; keep one']],
    [
      'a vendor without keys',
      'vendors: { openai: {} }',
      ['x.yaml:1:12 vendors.openai.api_keys: is missing; it must be a list of keys'],
    ],
    [
      'a vendor without an address',
      'vendors: { acme: { api_keys: [] } }',
      ['x.yaml:1:12 vendors.acme.base_url: is missing; it must be given where no adapter has the name of the vendor'],
    ],
    [
      'an adapter without an address, and none given',
      'vendors: { azure: { api_keys: [] } }',
      ['x.yaml:1:12 vendors.azure.base_url: is missing; its adapter has no address of its own'],
    ],
    [
      'an unknown adapter',
      'vendors: { a: { adapter: b, base_url: "https://c", api_keys: [] } }',
      [`x.yaml:1:26 vendors.a.adapter: must be one of: ${Object.keys(addresses).join(', ')}`],
    ],
    [
      'a key with a line break',
      'vendors: { openai: { api_keys: ["a\\n"] } }',
      [`x.yaml:1:33 vendors.openai.api_keys[0]: ${vendorKeyText.rule}`],
    ],
    [
      'an unusable name',
      'models:\n  "a b": { targets: [{ vendor: v, model: m }] }\nvendors: { v: { adapter: openai, api_keys: [] } }',
      ['x.yaml:2:3 models["a b"]: is not a usable name: letters, digits and . _ : / @ + -, at most 128'],
    ],
    [
      'a target of an unknown vendor',
      `${vendors}models:\n  gpt-4.1:\n    targets:\n      - { vendor: opena, model: m }`,
      ['x.yaml:7:19 models["gpt-4.1"].targets[0].vendor: names no vendor of this file; those are: openai'],
    ],
    [
      'no target',
      `${vendors}models: { m: { targets: [] } }`,
      ['x.yaml:4:25 models.m.targets: must hold at least one target'],
    ],
    [
      'a target twice',
      `${vendors}models: { m: { targets: [{ vendor: openai, model: a }, { vendor: openai, model: a }] } }`,
      ['x.yaml:4:56 models.m.targets[1]: is the same as a target above it'],
    ],
    ['a negative price', modelOf('prices: { input: -1, output: 1 }'), [`x.yaml:7:22 models.m.prices.input: ${price}`]],
    [
      'a price with an exponent',
      modelOf('prices: { input: "1e3", output: 1 }'),
      [`x.yaml:7:22 models.m.prices.input: ${price}`],
    ],
    [
      'a price with ten decimals',
      modelOf('prices: { input: 0.0000000001, output: 1 }'),
      [`x.yaml:7:22 models.m.prices.input: ${price}`],
    ],
    [
      'a price that is not a number',
      modelOf('prices: { input: .nan, output: 1 }'),
      [`x.yaml:7:22 models.m.prices.input: ${price}`],
    ],
    [
      'a price above the largest',
      modelOf('prices: { input: 999999.1, output: 1 }'),
      [`x.yaml:7:22 models.m.prices.input: ${price}`],
    ],
    [
      'no output price',
      modelOf('prices: { input: 1 }'),
      [`x.yaml:7:5 models.m.prices.output: is missing; it ${price}`],
    ],
    [
      'an operation without its price',
      `${modelOf('operation: speech')}\n    prices: { input: 1 }`,
      ['x.yaml:8:5 models.m.prices: need one for character; speech cannot be charged without'],
    ],
    [
      'an unknown unit',
      modelOf('prices: { input: 1, output: 1, tokens: 1 }'),
      [
        `x.yaml:7:36 models.m.prices.tokens: is not known here; known are: currency, ${unitNames.join(', ')}, tiers, service_tiers, off_peak, regions, speeds, markup_percent`,
      ],
    ],
    [
      'prices of nothing',
      modelOf('prices: { input: 0, output: "0.0" }'),
      ['x.yaml:7:5 models.m.prices: are all zero; a model that costs nothing must say free: true'],
    ],
    [
      'a tier with two borders, one with none, and one without a price',
      modelOf('prices: { input: 1, output: 1, tiers: [{ above: 1, from: 1, input: 1 }, { input: 2 }, { from: 9 }] }'),
      [
        'x.yaml:7:44 models.m.prices.tiers[0]: needs either above or from',
        'x.yaml:7:77 models.m.prices.tiers[1]: needs either above or from',
        'x.yaml:7:91 models.m.prices.tiers[2]: names no price',
      ],
    ],
    [
      'two tiers with one border',
      modelOf('prices: { input: 1, output: 1, tiers: [{ above: 9, input: 1 }, { from: 10, input: 2 }] }'),
      ['x.yaml:7:68 models.m.prices.tiers[1]: has the border of tier 1 above it'],
    ],
    [
      'an unknown service tier, and one without a price',
      modelOf('prices: { input: 1, output: 1, service_tiers: { turbo: { input: 1 }, flex: {} } }'),
      [
        'x.yaml:7:53 models.m.prices.service_tiers.turbo: is not known here; known are: flex, priority, batch',
        'x.yaml:7:74 models.m.prices.service_tiers.flex: names no price',
      ],
    ],
    [
      'no time of day, and windows that overlap past the end of the week',
      modelOf(`prices:
      input: 1
      output: 1
      off_peak:
        - { from: "24:00", to: "01:00", input: 1 }
        - { from: "23:00", to: "02:00", days: [sat], input: 1 }
        - { from: "01:59", to: "02:30", days: [sun], input: 1 }
        - { from: "03:00", to: "03:00", input: 1 }`),
      [
        'x.yaml:11:19 models.m.prices.off_peak[0].from: must be a time of day in UTC such as "16:30"',
        'x.yaml:13:11 models.m.prices.off_peak[2]: overlaps a window above it',
        'x.yaml:14:32 models.m.prices.off_peak[3].to: must differ from from',
      ],
    ],
    [
      'a multiplier with too many decimals, and a markup below nothing',
      modelOf('prices: { input: 1, output: 1, regions: { eu: 1.1234567 }, markup_percent: -1 }'),
      [
        'x.yaml:7:51 models.m.prices.regions.eu: must be a multiplier above 0 and up to 1000 with at most six decimals, such as "1.1"',
        'x.yaml:7:80 models.m.prices.markup_percent: must be a percentage from 0 to 10000 with at most four decimals',
      ],
    ],
    [
      'rates of exchange into the same currency, and twice into another',
      `exchange_rates:
  - { from: USD, to: USD, rate: 1, version: a }
  - { from: USD, to: CNY, rate: 7, version: a }
  - { from: USD, to: CNY, rate: 8, version: b }`,
      [
        'x.yaml:2:22 exchange_rates[0].to: must differ from from',
        'x.yaml:4:5 exchange_rates[2]: is for the same currencies as a rate above it',
      ],
    ],
    [
      'prices of a free model',
      modelOf('free: true\n    prices: { input: 1, output: 1 }'),
      ['x.yaml:8:5 models.m.prices: must be left out where free is true'],
    ],
    [
      'an unknown policy',
      modelOf('policies: { client_abort: maybe }'),
      ['x.yaml:7:31 models.m.policies.client_abort: must be one of: cancel, drain, void'],
    ],
    [
      'a discount above everything',
      'accounts: { a: { discount_percent: 100.5 } }',
      ['x.yaml:1:36 accounts.a.discount_percent: must be a percentage from 0 to 100 with at most four decimals'],
    ],
    [
      'checkpoints too far apart',
      'holds: { term_seconds: 7, checkpoint_seconds: 2 }',
      ['x.yaml:1:47 holds.checkpoint_seconds: must be at most a quarter of term_seconds'],
    ],
    [
      'an alias of nothing',
      'server: *nowhere',
      ['x.yaml:1:1 YAML: an alias has no anchor above it, or aliases expand too far'],
    ],
    ['two documents', '{}\n---\n{}', ['x.yaml:2:1 YAML: only one YAML document is allowed in the file']],
    ['nesting without end', '['.repeat(200_000), ['x.yaml:1:1 YAML: the file cannot be read as YAML']],
    ['a file without end', ' '.repeat(1_048_577), ['x.yaml:1:1 YAML: the file is larger than 1048576 characters']],
  ])('is %s', (_what, text, expected) => {
    expect(faults(text)).toEqual(expected)
  })

  test.each([
    'ftp://h/v1',
    'https://u:p@h/v1',
    'https://h/v1?key=x',
    'https://h/v1#x',
    'h/v1',
    '//h/v1',
    'https://',
    'file:///etc/passwd',
  ])('is the address %s', (address) => {
    expect(faults(`vendors: { openai: { base_url: '${address}', api_keys: [] } }`)).toEqual([
      'x.yaml:1:32 vendors.openai.base_url: must be http:// or https:// with a host, without user, query and fragment',
    ])
  })

  test('is an expansion of aliases that grows without bound', () => {
    const bomb = ['server: &a0 [x,x,x,x,x,x,x,x,x]']
    for (let n = 1; n < 9; n += 1) bomb.push(`k${n}: &a${n} [${`*a${n - 1},`.repeat(9)}]`)
    expect(faults(bomb.join('\n'))[0]).toBe(
      'x.yaml:1:1 YAML: an alias has no anchor above it, or aliases expand too far',
    )
  })

  test('does not hide the others: all are told at once, in the order of the file', () => {
    const text = `
server: { port: 0.5 }
vendors:
  openai: { api_keys: ['\${NOPE}'], colour: red }
  openai: { api_keys: [] }
models:
  m:
    targets: [{ vendor: nobody, model: x }]
    prices: { input: -1 }
  n: [
`
    expect(faults(text, { PORT: 'x' }).map((fault) => fault.split(': ')[0])).toEqual([
      'x.yaml:2:17 server.port',
      'x.yaml:4:24 vendors.openai.api_keys[0]',
      'x.yaml:5:3 openai',
      'x.yaml:8:25 models.m.targets[0].vendor',
      'x.yaml:9:5 models.m.prices.output',
      'x.yaml:9:22 models.m.prices.input',
      'x.yaml:10:6 models.n',
      'x.yaml:11:1 YAML',
      'environment PORT',
    ])
  })

  test('is one of a hundred at most', () => {
    const text = `server:\n${Array.from({ length: 150 }, (_, n) => `  f${n}: 1`).join('\n')}`
    expect([faults(text).length, faults(text).at(-1)]).toEqual([101, 'and 50 more'])
  })

  test('never shows a value: not of the file, not of the environment', () => {
    const secret = 'sk-canary-1234567890'
    const texts = [
      `vendors: { openai: { api_keys: ['${secret} x'], base_url: '${secret}' } }`,
      `vendors: { openai: { api_keys: ['\${K} x'], adapter: '\${K}' } }`,
      `vendors: { openai: { api_keys: "${secret} } }`,
      `vendors: { openai: { api_keys: [ ${secret}: [ } }`,
      `vendors: { openai: ${secret} }\nvendors: {}`,
      `${secret}: 1\n${secret}: 2`,
      `vendors: { openai: { api_keys: *${secret} } }`,
      `vendors: { openai: { api_keys: !${secret} x } }`,
      `models: { m: { targets: [{ vendor: ${secret}, model: m }] } }`,
      `server: { host: "\\q${secret}" }`,
      `server: { host: '\${${secret}}' }`,
    ]
    const env = { K: secret, TOLLGATE_MASTER_KEY: `${secret}!`, DATABASE_URL: secret, PORT: secret }
    const told = texts.map((text) => faults(text, env).join('\n'))
    expect([told.every((fault) => fault !== ''), told.filter((fault) => fault.includes('canary'))]).toEqual([true, []])
  })
})

describe('the file that comes with the gateway', () => {
  const text = readFileSync(join(root, 'config/tollgate.yaml'), 'utf8')

  test('needs nothing in the environment; then only the sandbox is live', () => {
    const live = [...read(text).vendors.values()].filter(({ apiKeys }) => apiKeys.length > 0)
    expect(live.map(({ id }) => id)).toEqual(['sandbox'])
  })

  test('has a price for input and output of every model, and output that is not cheaper than input', () => {
    const odd = [...read(text).models.values()].filter(({ prices }) => {
      const { input = 0n, output = 0n } = prices?.nanos ?? {}
      return input <= 0n || output < input
    })
    expect(odd).toEqual([])
  })

  test('points editors at its schema', () => {
    expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=./tollgate.schema.json')
  })
})
