import { expect, test } from 'vitest'
import type { Name } from '../../bench/contest/contestants.ts'
import { countsOf } from '../../bench/contest/gauge.ts'
import { firstLoad } from '../../bench/contest/loads.ts'
import { median, percentiles } from '../../bench/contest/order.ts'
import { sharesOf } from '../../bench/contest/profile.ts'
import { coresOf } from '../../bench/contest/programs.ts'
import { costOf, ratio, ratiosOf, rowsOf } from '../../bench/contest/report.ts'
import type { Sample } from '../../bench/contest/run.ts'

function sample(name: Name, round: number, { cpuUs, instructions, p50 = 1_000 }: Partial<Sample> & { p50?: number }) {
  return {
    name,
    round,
    load: firstLoad,
    cpuUs,
    instructions,
    beforeMb: 100,
    peakMb: 120,
    figures: {
      calls: 10,
      inputTokens: 570,
      outputTokens: 2_000,
      failed: 0,
      faults: [],
      tookMs: 500,
      latencyUs: { p50, p99: p50 * 2 },
      firstUs: undefined,
      delayUs: undefined,
    },
  } satisfies Sample
}

test('a ratio is the median of what two took in the same round', () => {
  const samples = [
    sample('bare', 0, { cpuUs: 100 }),
    sample('embedded', 0, { cpuUs: 150 }),
    sample('bare', 1, { cpuUs: 200 }),
    sample('embedded', 1, { cpuUs: 200 }),
    sample('embedded', 2, { cpuUs: 900 }),
  ]
  expect(ratio(samples, { of: 'embedded', to: 'bare', load: 'json-1k' })).toBe(1.25)
  expect(ratiosOf(samples)).toEqual({
    embedded_json_vs_bare: 1.25,
    embedded_stream_vs_bare: null,
    scaled_json_vs_bare: null,
    portkey_vs_embedded_json: null,
  })
})

test('instructions are compared only where every run has them', () => {
  const both = [sample('bare', 0, { cpuUs: 1, instructions: 10 }), sample('nginx', 0, { cpuUs: 3, instructions: 20 })]
  expect(costOf([...both, sample('direct', 0, {})]).unit).toBe('instructions')
  expect(ratio(both, { of: 'nginx', to: 'bare', load: 'json-1k' })).toBe(2)
  const one = [...both, sample('portkey', 0, { cpuUs: 5 })]
  expect(ratio(one, { of: 'nginx', to: 'bare', load: 'json-1k' })).toBe(3)
})

test('what a contestant adds is its time without that of the vendor in the same round', () => {
  const samples = [sample('direct', 0, { p50: 250 }), sample('bare', 0, { cpuUs: 50, p50: 750 })]
  const [row] = rowsOf(samples, [firstLoad], ['bare'])
  expect(row).toEqual({
    contestant: 'bare',
    load: 'json-1k',
    unit: 'call',
    runs: 1,
    calls: 10,
    calls_per_second: 20,
    cpu_us: 50,
    instructions: undefined,
    cost_vs_bare: 1,
    p50_ms: 0.75,
    p99_ms: 1.5,
    added_p50_ms: 0.5,
    added_p99_ms: 1,
    first_byte_p50_ms: undefined,
    added_first_byte_p50_ms: undefined,
    event_delay_p50_ms: undefined,
    event_delay_p99_ms: undefined,
    rss_before_mb: 100,
    rss_peak_mb: 120,
    kb_per_stream: undefined,
  })
})

test('medians and percentiles', () => {
  expect([median([]), median([3]), median([4, 1]), median([9, 1, 5])]).toEqual([undefined, 3, 2.5, 5])
  expect(percentiles([])).toBeUndefined()
  expect(percentiles(Array.from({ length: 100 }, (_, at) => 100 - at))).toEqual({ p50: 51, p99: 100 })
})

test('counts of perf are summed, unless one was not counted', () => {
  expect(countsOf('1000,,instructions:u,5,100.00,,\n500,,instructions:k,5,100.00,,\n')).toBe(1_500)
  expect(countsOf('1000,,instructions:u,5,100.00,,\n<not supported>,,instructions:k,0,100.00,,\n')).toBeUndefined()
  expect(countsOf('')).toBeUndefined()
})

test.each([
  ['0-1', [0, 1]],
  ['0,2-3', [0, 2, 3]],
  ['7', [7]],
  ['', []],
])('the list of cores %j', (list, cores) => {
  expect(coresOf(list)).toEqual(cores)
})

test('time of a profile goes to the code that ran and to the stage that it ran for', () => {
  const frame = (functionName: string, url = '', lineNumber = 0) => ({ functionName, url, lineNumber })
  const shares = sharesOf(
    {
      nodes: [
        { id: 1, callFrame: frame('(root)'), children: [2, 5] },
        { id: 2, callFrame: frame('admit', 'file:///t/src/admit/admit.ts', 9), children: [3] },
        { id: 3, callFrame: frame('query', 'file:///t/node_modules/@electric-sql/pglite/index.js'), children: [4] },
        { id: 4, callFrame: frame('wasm-function[7]', 'wasm://wasm/00c0ffee') },
        { id: 5, callFrame: frame('(idle)') },
      ],
      startTime: 1_000,
      samples: [2, 3, 4, 4, 5, 2],
      timeDeltas: [100, 100, 100, 100, 100, 1_000],
    },
    1_150,
    1_600,
  )
  expect(shares).toEqual({
    busyUs: 300,
    places: [
      { name: 'WebAssembly of @electric-sql/pglite', us: 200 },
      { name: '@electric-sql/pglite', us: 100 },
    ],
    stages: [{ name: 'admit', us: 300 }],
    files: [{ name: 'admit/admit.ts', us: 300 }],
    functions: [
      { name: 'WebAssembly of @electric-sql/pglite', us: 200 },
      { name: 'query node_modules/@electric-sql/pglite/index.js:1', us: 100 },
    ],
  })
})
