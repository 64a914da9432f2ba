import { describe, expect, test } from 'vitest'
import { openTelemetry, type Gauges } from '../../src/record/telemetry.ts'
import { prices } from '../db/records.ts'

const gauges: Gauges = { holdsLive: 3, batcherWaiting: 2, booksFailing: false }
const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
const ended = (over: object = {}) => ({ outcome: 'complete', charge: 5n, prices, ...over }) as const

describe('the figures', () => {
  test('begin with what is there now', () => {
    expect(lines(openTelemetry().print(gauges))).toEqual([
      'tollgate_holds_live 3',
      'tollgate_batcher_waiting 2',
      'tollgate_books_failing 0',
    ])
  })

  test('count calls by outcome and money by currency', () => {
    const telemetry = openTelemetry()
    telemetry.ended(ended(), 0n)
    telemetry.ended(ended({ charge: 9_007_199_254_740_993n }), 2n)
    telemetry.ended(ended({ outcome: 'cut', prices: { ...prices, currency: 'CNY' } }), 0n)
    expect(lines(telemetry.print({ ...gauges, booksFailing: true }))).toEqual([
      'tollgate_calls_total{outcome="complete"} 2',
      'tollgate_calls_total{outcome="cut"} 1',
      'tollgate_charged_nanos_total{currency="USD"} 9007199254740998',
      'tollgate_charged_nanos_total{currency="CNY"} 5',
      'tollgate_overflow_nanos_total{currency="USD"} 2',
      'tollgate_overflow_nanos_total{currency="CNY"} 0',
      'tollgate_holds_live 3',
      'tollgate_batcher_waiting 2',
      'tollgate_books_failing 1',
    ])
  })

  test('tell what the process takes of its machine', () => {
    const process = {
      residentBytes: 300_000_000,
      heapBytes: 40_000_000,
      resources: 12,
      delayP99Ms: 4.5,
      delayMostMs: 20,
    }
    expect(lines(openTelemetry().print({ ...gauges, process })).slice(3)).toEqual([
      'tollgate_resident_bytes 300000000',
      'tollgate_heap_bytes 40000000',
      'tollgate_resources 12',
      'tollgate_event_loop_delay_seconds{quantile="0.99"} 0.0045',
      'tollgate_event_loop_delay_seconds{quantile="1"} 0.02',
    ])
  })

  test('tell what the last comparison found', () => {
    const reconciliation = { atMs: 1_700_000_000_999, violations: 1, over: 7n, under: 8n, busy: 2 }
    expect(lines(openTelemetry().print({ ...gauges, reconciliation })).slice(3)).toEqual([
      'tollgate_books_drift_nanos{side="over"} 7',
      'tollgate_books_drift_nanos{side="under"} 8',
      'tollgate_books_violations 1',
      'tollgate_books_busy_accounts 2',
      'tollgate_books_checked_timestamp_seconds 1700000000',
    ])
  })

  test('have no label for what is no currency, and a bounded number of them', () => {
    const telemetry = openTelemetry()
    telemetry.ended(ended({ prices: { ...prices, currency: 'X"} 1\n' } }), 0n)
    const letters = 'ABCDEFGHIJ'
    for (const a of letters)
      for (const b of letters) telemetry.ended(ended({ prices: { ...prices, currency: `Z${a}${b}` } }), 0n)
    const charged = lines(telemetry.print(gauges)).filter((line) => line.startsWith('tollgate_charged'))
    expect([charged.length, charged[0]]).toEqual([50, 'tollgate_charged_nanos_total{currency="other"} 260'])
  })

  test('have a help and a type for each name', () => {
    const text = openTelemetry().print(gauges)
    expect(text.match(/^# HELP (\S+) .+\n# TYPE \1 (?:counter|gauge)$/gm)).toHaveLength(6)
    expect(text.endsWith('\n')).toBe(true)
  })
})
