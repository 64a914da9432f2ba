import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { isTimeZone, naturalAnchor, periodAt, type Calendar, type QuotaPeriod } from '../../src/core/calendar.ts'

const at = (text: string) => Date.parse(text)
const calendar = (period: QuotaPeriod, anchor: string, timeZone = 'UTC'): Calendar => ({
  period,
  anchorMs: at(anchor),
  timeZone,
})
const shown = (of: Calendar, now: string) => {
  const period = periodAt(of, at(now))
  return period && [new Date(period.startMs).toISOString(), new Date(period.endMs).toISOString()]
}

describe('the months of a quota', () => {
  const last = calendar('month', '2026-01-31T00:00:00Z')
  test.each([
    ['2026-01-31T00:00:00Z', '2026-01-31', '2026-02-28'],
    ['2026-02-27T23:59:59.999Z', '2026-01-31', '2026-02-28'],
    ['2026-02-28T00:00:00Z', '2026-02-28', '2026-03-31'],
    ['2026-03-30T23:59:59.999Z', '2026-02-28', '2026-03-31'],
    ['2026-03-31T00:00:00Z', '2026-03-31', '2026-04-30'],
    ['2026-12-31T00:00:00Z', '2026-12-31', '2027-01-31'],
    ['2028-02-28T12:00:00Z', '2028-01-31', '2028-02-29'],
    ['2028-02-29T00:00:00Z', '2028-02-29', '2028-03-31'],
  ])('from 31 January: %s lies in %s to %s', (now, start, end) => {
    expect(shown(last, now)).toEqual([`${start}T00:00:00.000Z`, `${end}T00:00:00.000Z`])
  })

  test('from 29 February come back to the 29th, and end short years on the 28th', () => {
    const leap = calendar('month', '2028-02-29T08:30:00Z')
    expect(shown(leap, '2029-02-28T08:30:00Z')).toEqual(['2029-02-28T08:30:00.000Z', '2029-03-29T08:30:00.000Z'])
    expect(shown(leap, '2029-02-28T08:29:59Z')).toEqual(['2029-01-29T08:30:00.000Z', '2029-02-28T08:30:00.000Z'])
  })
})

describe('the days and weeks of a quota', () => {
  test('begin at the time of day of the anchor', () => {
    expect(shown(calendar('day', '2026-03-01T06:00:00Z'), '2026-03-05T05:59:59Z')).toEqual([
      '2026-03-04T06:00:00.000Z',
      '2026-03-05T06:00:00.000Z',
    ])
  })

  test('begin on the day of the week of the anchor', () => {
    const wednesday = calendar('week', '2026-03-04T00:00:00Z')
    expect(shown(wednesday, '2026-03-17T23:00:00Z')).toEqual(['2026-03-11T00:00:00.000Z', '2026-03-18T00:00:00.000Z'])
  })

  test('are not there before the anchor', () => {
    expect(shown(calendar('day', '2026-03-04T00:00:00Z'), '2026-03-03T23:59:59.999Z')).toBeUndefined()
  })
})

describe('time zones', () => {
  test.each([
    // Clocks in Berlin go from 02:00 to 03:00 on 29 March 2026 and from 03:00 to 02:00 on 25 October.
    [
      'a day of 23 hours',
      'Europe/Berlin',
      '2026-01-01T00:00:00+01:00',
      '2026-03-29T12:00:00Z',
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
    ],
    [
      'a day of 25 hours',
      'Europe/Berlin',
      '2026-01-01T00:00:00+01:00',
      '2026-10-25T12:00:00Z',
      '2026-10-24T22:00:00.000Z',
      '2026-10-25T23:00:00.000Z',
    ],
    [
      'a start that the clock skips',
      'Europe/Berlin',
      '2026-01-01T02:30:00+01:00',
      '2026-03-29T12:00:00Z',
      '2026-03-29T01:30:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ],
    [
      'a start that the clock shows twice',
      'Europe/Berlin',
      '2026-01-01T02:30:00+01:00',
      '2026-10-25T12:00:00Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ],
    [
      'no summer time',
      'Asia/Shanghai',
      '2026-01-01T00:00:00+08:00',
      '2026-07-01T15:59:59Z',
      '2026-06-30T16:00:00.000Z',
      '2026-07-01T16:00:00.000Z',
    ],
    [
      'half an hour',
      'Asia/Kolkata',
      '2026-01-01T00:00:00+05:30',
      '2026-07-01T18:30:00Z',
      '2026-07-01T18:30:00.000Z',
      '2026-07-02T18:30:00.000Z',
    ],
    [
      'a day that was left out',
      'Pacific/Apia',
      '2011-12-01T12:00:00-10:00',
      '2011-12-30T22:00:00Z',
      '2011-12-30T22:00:00.000Z',
      '2011-12-31T22:00:00.000Z',
    ],
  ])('with %s', (_what, zone, anchor, now, start, end) => {
    expect(shown(calendar('day', anchor, zone), now)).toEqual([start, end])
  })

  test('keep the first of the month where it is local midnight', () => {
    const newYork = calendar('month', '2026-01-01T00:00:00-05:00', 'America/New_York')
    expect(shown(newYork, '2026-07-15T00:00:00Z')).toEqual(['2026-07-01T04:00:00.000Z', '2026-08-01T04:00:00.000Z'])
  })

  test.each([
    ['Europe/Berlin', true],
    ['UTC', true],
    ['Mars/Olympus', false],
    ['', false],
  ])('%j is one: %s', (name, known) => {
    expect(isTimeZone(name)).toBe(known)
  })
})

describe('a natural anchor', () => {
  test.each([
    ['day', 'UTC', '2026-03-05T00:00:00.000Z'],
    ['week', 'UTC', '2026-03-02T00:00:00.000Z'],
    ['month', 'UTC', '2026-03-01T00:00:00.000Z'],
    ['day', 'Asia/Tokyo', '2026-03-05T15:00:00.000Z'],
    ['month', 'America/New_York', '2026-03-01T05:00:00.000Z'],
  ] as const)('of a %s in %s is %s', (period, zone, start) => {
    expect(new Date(naturalAnchor(period, zone, at('2026-03-05T18:00:00Z'))).toISOString()).toBe(start)
  })
})

test('every moment from the anchor on lies in one period, and periods follow each other without a gap', () => {
  const zones = fc.constantFrom(
    'UTC',
    'Europe/Berlin',
    'America/Sao_Paulo',
    'Asia/Kolkata',
    'Australia/Lord_Howe',
    'Pacific/Apia',
  )
  const periods = fc.constantFrom('day' as const, 'week' as const, 'month' as const)
  const moments = fc.integer({ min: at('2010-01-01T00:00:00Z') / 1000, max: at('2035-01-01T00:00:00Z') / 1000 })
  const property = fc.property(
    zones,
    periods,
    moments,
    fc.integer({ min: 0, max: 10 ** 8 }),
    (timeZone, period, anchor, after) => {
      const of: Calendar = { period, timeZone, anchorMs: anchor * 1000 }
      const nowMs = of.anchorMs + after * 1000
      const found = periodAt(of, nowMs)
      if (!found) throw new Error('no period')
      expect(found.startMs <= nowMs && nowMs < found.endMs).toBe(true)
      expect(periodAt(of, found.startMs)).toEqual(found)
      expect(periodAt(of, found.endMs - 1)).toEqual(found)
      expect(periodAt(of, found.endMs)?.startMs).toBe(found.endMs)
    },
  )
  fc.assert(property, { numRuns: 300 })
})
