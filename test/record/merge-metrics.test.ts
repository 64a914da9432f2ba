import { expect, test } from 'vitest'
import { mergeMetrics } from '../../src/record/merge-metrics.ts'
import { openTelemetry } from '../../src/record/telemetry.ts'

test('samples of several workers stand under one description, each with its worker', () => {
  const one = '# HELP calls Calls.\n# TYPE calls counter\ncalls{outcome="complete"} 3\ncalls{outcome="cut"} 1\n'
  const two = '# HELP calls Calls.\n# TYPE calls counter\n# HELP holds Holds.\n# TYPE holds gauge\nholds 7\n'
  expect(
    mergeMetrics([
      { worker: 1, text: one },
      { worker: 2, text: two },
    ]),
  ).toBe(
    '# HELP calls Calls.\n# TYPE calls counter\ncalls{worker="1",outcome="complete"} 3\ncalls{worker="1",outcome="cut"} 1\n' +
      '# HELP holds Holds.\n# TYPE holds gauge\nholds{worker="2"} 7\n',
  )
})

test('what a gateway prints keeps every sample', () => {
  const process = { residentBytes: 1, heapBytes: 2, resources: 3, delayP99Ms: 4, delayMostMs: 5 }
  const text = openTelemetry().print({ holdsLive: 3, batcherWaiting: 2, booksFailing: false, process })
  const samples = (of: string) => of.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const merged = mergeMetrics([1, 2, 3].map((worker) => ({ worker, text })))
  expect(samples(merged)).toHaveLength(samples(text).length * 3)
  expect(merged).toContain('tollgate_event_loop_delay_seconds{worker="2",quantile="0.99"} 0.004\n')
})

test('of nobody there is nothing, and lines that are no samples are left out', () => {
  expect(mergeMetrics([])).toBe('')
  expect(mergeMetrics([{ worker: 1, text: '# TYPE a gauge\nnot a sample\na 1\n' }])).toBe(
    '# TYPE a gauge\na{worker="1"} 1\n',
  )
})
