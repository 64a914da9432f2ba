import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import type { Part } from '../../src/core/call.ts'
import { lessParts, paidBy, splitCharge, sumMoney, unwindParts } from '../../src/ledger/purses.ts'

const money = (purse: number, amount: bigint): Part => ({ purse, lease: purse * 10, amount })
const tokens = (purse: number, amount: bigint): Part => ({ purse, lease: purse * 10, amount, asset: 'TOK' })
const fallback = { purse: 9, lease: 0 }

describe('a charge', () => {
  test.each([
    ['of nothing has no parts', { money: 0n, tokens: 0n }, [money(1, 5n)], []],
    ['is paid by the first purse that can', { money: 5n }, [money(1, 5n), money(2, 5n)], [money(1, 5n)]],
    ['goes on to the next purse', { money: 7n }, [money(1, 5n), money(2, 5n)], [money(1, 5n), money(2, 2n)]],
    [
      'above all parts overflows onto the last',
      { money: 12n },
      [money(1, 5n), money(2, 5n)],
      [money(1, 5n), money(2, 7n)],
    ],
    ['that tokens pay costs no money', { money: 10n, tokens: 4n }, [tokens(1, 4n), money(2, 10n)], [tokens(1, 4n)]],
    [
      'pays in money the share that tokens leave',
      { money: 10n, tokens: 4n },
      [tokens(1, 1n), money(2, 10n)],
      [tokens(1, 1n), money(2, 8n)],
    ],
    [
      'pays in tokens the share that money leaves',
      { money: 10n, tokens: 4n },
      [money(1, 5n), tokens(2, 4n)],
      [money(1, 5n), tokens(2, 2n)],
    ],
    [
      'above tokens and money overflows onto money',
      { money: 10n, tokens: 4n },
      [money(1, 5n), tokens(2, 1n)],
      [money(1, 8n), tokens(2, 1n)],
    ],
    [
      'above tokens alone overflows onto the fallback',
      { money: 10n, tokens: 4n },
      [tokens(1, 3n)],
      [tokens(1, 3n), { ...fallback, amount: 3n }],
    ],
    ['without parts is the fallback’s', { money: 10n }, [], [{ ...fallback, amount: 10n }]],
    ['that tokens cannot pay passes them over', { money: 10n }, [tokens(1, 4n), money(2, 10n)], [money(2, 10n)]],
    ['of zero money takes no tokens either', { money: 0n, tokens: 4n }, [tokens(1, 4n)], []],
  ] as const)('%s', (_what, bill, held, parts) => {
    expect(splitCharge(bill, held, { fallback })).toEqual(parts)
  })

  test('that is capped takes what was held and no more', () => {
    const held = [tokens(1, 1n), money(2, 5n)]
    expect(splitCharge({ money: 10n, tokens: 4n }, held, { isCapped: true })).toEqual(held)
  })

  test('needs a purse', () => {
    expect(() => splitCharge({ money: 1n, tokens: 2n }, [tokens(1, 1n)])).toThrow(
      new RangeError('a charge needs a purse'),
    )
  })
})

const amount = fc.bigInt({ min: 1n, max: 10n ** 15n })
const heldParts = (asset: 'money' | 'both') =>
  fc
    .array(fc.record({ amount, isTokens: asset === 'both' ? fc.boolean() : fc.constant(false) }), {
      minLength: 1,
      maxLength: 8,
    })
    .map((drawn) =>
      drawn.map((one, index) => (one.isTokens ? tokens(index + 1, one.amount) : money(index + 1, one.amount))),
    )

describe('a split', () => {
  test('of money sums to the charge exactly, in the order of the parts', () => {
    const property = fc.property(heldParts('money'), amount, (held, total) => {
      const parts = splitCharge({ money: total }, held)
      expect(sumMoney(parts)).toBe(total)
      expect(parts.map(({ purse }) => purse)).toEqual(held.slice(0, parts.length).map(({ purse }) => purse))
      for (const [index, part] of parts.slice(0, -1).entries()) expect(part).toEqual(held[index])
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('over several assets pays the whole bill, and less than one unit too much', () => {
    const property = fc.property(heldParts('both'), amount, amount, (held, total, inTokens) => {
      const bill = { money: total, tokens: inTokens }
      const parts = splitCharge(bill, held, { fallback })
      const { money: moneyPaid, tokens: tokensPaid } = paidBy(parts)
      // Σ paid / total over the assets, as one fraction: at least the whole.
      const paid = moneyPaid * inTokens + tokensPaid * total
      const whole = total * inTokens
      expect(paid >= whole).toBe(true)
      // The last part's rounding is below one unit of its own asset.
      const last = parts.at(-1)
      const overflowed = parts.some(
        (part) =>
          part.asset === undefined && part.amount > (held.find(({ purse }) => purse === part.purse)?.amount ?? 0n),
      )
      const unit = last?.asset === undefined || overflowed ? inTokens : total
      expect(paid - whole < unit).toBe(true)
      for (const part of parts)
        if (part.asset === 'TOK')
          expect(part.amount <= (held.find(({ purse }) => purse === part.purse)?.amount ?? 0n)).toBe(true)
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('that is capped never exceeds a part', () => {
    const property = fc.property(heldParts('both'), amount, amount, (held, total, inTokens) => {
      const parts = splitCharge({ money: total, tokens: inTokens }, held, { isCapped: true })
      for (const part of parts) {
        const of = held.find(({ purse }) => purse === part.purse)
        expect(part.amount > 0n && part.amount <= (of?.amount ?? 0n)).toBe(true)
      }
    })
    fc.assert(property, { numRuns: 500 })
  })
})

describe('unwinding', () => {
  test('gives back to the last that paid first', () => {
    const paid = [tokens(1, 4n), money(2, 5n), money(3, 6n)]
    expect(unwindParts(paid, { money: 8n, tokens: 1n })).toEqual([money(3, 6n), money(2, 2n), tokens(1, 1n)])
  })

  test.each([
    ['more money than was paid', { money: 6n, tokens: 0n }],
    ['more tokens than were paid', { money: 0n, tokens: 1n }],
    ['less than nothing', { money: -1n, tokens: 0n }],
  ])('refuses %s', (_what, back) => {
    expect(() => unwindParts([money(1, 5n)], back)).toThrow(RangeError)
  })

  test('all that was consumed leaves every purse as it was', () => {
    const property = fc.property(heldParts('both'), amount, amount, (held, total, inTokens) => {
      const parts = splitCharge({ money: total, tokens: inTokens }, held, { fallback })
      const returned = unwindParts(parts, paidBy(parts))
      const purses = new Map<number, bigint>()
      for (const part of parts) purses.set(part.purse, (purses.get(part.purse) ?? 0n) - part.amount)
      for (const part of returned) purses.set(part.purse, (purses.get(part.purse) ?? 0n) + part.amount)
      expect([...purses.values()].filter((left) => left !== 0n)).toEqual([])
      expect(returned).toEqual(parts.toReversed())
      expect(lessParts(parts, returned)).toEqual([])
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('a part of a charge leaves what the smaller charge would have taken', () => {
    const property = fc.property(heldParts('money'), amount, amount, (held, a, b) => {
      const [small, large] = a < b ? [a, b] : [b, a]
      const parts = splitCharge({ money: large }, held)
      const returned = unwindParts(parts, { money: large - small, tokens: 0n })
      expect(lessParts(parts, returned)).toEqual(splitCharge({ money: small }, held))
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('in steps gives back what one step gives', () => {
    const property = fc.property(
      heldParts('both'),
      amount,
      fc.bigInt({ min: 0n, max: 100n }),
      fc.bigInt({ min: 0n, max: 100n }),
      (held, total, x, y) => {
        const parts = splitCharge({ money: total, tokens: total }, held, { fallback })
        const all = paidBy(parts)
        const share = (of: bigint, percent: bigint) => (of * percent) / 200n
        const first = { money: share(all.money, x), tokens: share(all.tokens, x) }
        const second = { money: share(all.money, y), tokens: share(all.tokens, y) }
        const after = lessParts(parts, unwindParts(parts, first))
        const inSteps = lessParts(after, unwindParts(after, second))
        const atOnce = unwindParts(parts, { money: first.money + second.money, tokens: first.tokens + second.tokens })
        expect(inSteps).toEqual(lessParts(parts, atOnce))
      },
    )
    fc.assert(property, { numRuns: 300 })
  })
})
