import { beforeAll, describe, expect, test } from 'vitest'
import { surviveSilence, type Survived } from './silence.ts'

describe('a vendor that is silent for a while', () => {
  let rows: readonly Survived[]
  beforeAll(async () => {
    rows = await surviveSilence(2_000)
  })

  test('is waited for, and what it says then is charged once', () => {
    expect(
      rows.filter(
        ({ status, isWhole, outcome, cost }) =>
          !(status === 200 && isWhole && outcome === 'complete' && cost === 16_000n),
      ),
    ).toEqual([])
  })

  test('is not silent for a caller behind a network that would cut the call', () => {
    const limited = rows.filter(({ name }) => name.includes('network'))
    expect([limited.length, limited.filter(({ longestMs }) => longestMs >= 1_000)]).toEqual([4, []])
  })
})
