import { expect, test } from 'vitest'
import { planOf } from '../../bench/contest/plan.ts'

/** What stands out of a plan. */
function gist(...args: readonly string[]) {
  const plan = planOf(args)
  if ('text' in plan) return { code: plan.code, first: plan.text.split('\n')[0] }
  const { names, loads, rounds, runMs, json } = plan
  return { names: names.join(' '), loads: loads.map(({ name }) => name).join(' '), rounds, runMs, json }
}

test('a contest is of all, three times', () => {
  expect(gist()).toEqual({
    names: 'direct nginx bare embedded postgres scaled portkey',
    loads: 'json-1k paced-100 stream-fast rate-200 first-token json-20k prompt-200k paced-2000',
    rounds: 3,
    runMs: 4_000,
    json: false,
  })
})

test('a quick contest is of what the ratios need, once', () => {
  expect(gist('--quick', '--json')).toEqual({
    names: 'direct nginx bare embedded scaled portkey',
    loads: 'json-1k paced-100 stream-fast rate-200 first-token',
    rounds: 1,
    runMs: 1_000,
    json: true,
  })
})

test('some of them are picked, in their own order', () => {
  expect(
    gist('--only', 'embedded,bare', '--loads', 'stream-fast,json-1k', '--rounds', '2', '--seconds', '0.5'),
  ).toEqual({
    names: 'bare embedded',
    loads: 'json-1k stream-fast',
    rounds: 2,
    runMs: 500,
    json: false,
  })
})

test.each([
  [['--only', 'nobody'], 2, 'there is no contestant nobody'],
  [['--loads', 'json-1k,nothing'], 2, 'there is no load nothing'],
  [['--seconds', '0'], 2, '--seconds must be a number above 0 and at most 120'],
  [['--rounds', '1e9'], 2, '--rounds must be a number above 0 and at most 50'],
  [['--fast'], 2, expect.stringContaining('--fast')],
  [['--help'], 0, 'npm run bench -- [options]'],
])('%j is answered with the usage', (args, code, first) => {
  expect(gist(...args)).toEqual({ code, first })
})
