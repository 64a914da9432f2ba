import { expect, test } from 'vitest'
import { runProgram } from '../support/process.ts'

const startMs = 60_000

test(
  'a short contest of two counts the calls that it made, finds each of them in the books, and compares',
  async () => {
    // Not a quick one, which leaves runs out where the machine has no time for them.
    const few = ['--only', 'bare,embedded', '--loads', 'json-1k,stream-fast', '--rounds', '1', '--seconds', '0.3']
    const { code, out, error } = await runProgram(['bench/contest.ts', ...few, '--json'], {})
    expect({ code, error: code === 0 ? '' : error + out }).toEqual({ code: 0, error: '' })
    const last = JSON.parse(out.trim().split('\n').at(-1) ?? '') as {
      readonly ratios: Record<string, number | null>
      readonly drift: number
      readonly left_out: unknown
      readonly no_result: unknown
      readonly late: readonly string[]
      readonly rows: readonly { readonly contestant: string; readonly load: string; readonly calls: number }[]
    }
    const { drift, left_out: leftOut, no_result: noResult, rows } = last
    expect({ drift, leftOut, noResult }).toEqual({ drift: 0, leftOut: {}, noResult: [] })
    expect(rows.filter(({ calls }) => calls > 0).map(({ contestant, load }) => `${contestant} ${load}`)).toEqual(
      ['json-1k', 'stream-fast'].flatMap((load) => [`bare ${load}`, `embedded ${load}`]),
    )
    expect(last.ratios['embedded_json_vs_bare']).toBeGreaterThan(0)
    expect(out).toContain(', 0 violations\n')
  },
  startMs,
)
