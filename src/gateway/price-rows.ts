import { and, eq, gt, inArray, isNull, lte, or, sql, type SQL } from 'drizzle-orm'
import { maxModels } from '../core/model-rules.ts'
import type { Nanos } from '../core/money.ts'
import { fullPricePpm, priceSet } from '../core/price-set.ts'
import { unitNames, type PriceSet, type Rate, type Unit } from '../core/price.ts'
import { parseCondition, printCondition } from '../core/rates.ts'
import type { Session } from '../db/database.ts'
import { model as modelTable, price } from '../db/schema.ts'
import { chunks } from './chunks.ts'

/** More than the prices of as many models as the file and the API may hold, each with a few rates beside the plain one. */
const maxRows = 8 * maxModels * unitNames.length
/** What a rate multiplies prices with, in a row of its own: nano-units of one. */
const multiplier = 'token_multiplier'
const nanosPerPpm = 1_000n
export const listBook = 'list'

/**
 * The database's own clock when the statement began, as coarse as its columns: what begins now has begun for whoever
 * asks next. Not `now()`, which stands still while a transaction waits for another's lock: the other's prices did hold.
 */
const nowSql = sql`date_trunc('milliseconds', statement_timestamp())`

export type PriceRow = typeof price.$inferSelect

/** What a unit of a model is to cost. */
export interface Price {
  readonly model: string
  readonly unit: PriceRow['unit']
  /** The condition of its rate (core/rates.ts), '' for the plain price. */
  readonly tier: string
  readonly currency: string
  /** Per million tokens or per piece, as the unit says. */
  readonly nanos: Nanos
}

/** The rows of a model's prices: one for each unit of the plain ones and of every rate. */
export function pricesOf(
  model: string,
  { currency, nanos, rates = [] }: Omit<PriceSet, 'id' | 'discountPpm'>,
): Price[] {
  const plain = { when: {}, nanos }
  return [plain, ...rates].flatMap(({ when, nanos: each, tokensPpm }: Rate) => {
    const row = { model, tier: printCondition(when), currency }
    const units = unitNames.flatMap((unit) => (each[unit] === undefined ? [] : [{ ...row, unit, nanos: each[unit] }]))
    return tokensPpm === undefined
      ? units
      : [...units, { ...row, unit: multiplier, nanos: BigInt(tokensPpm) * nanosPerPpm }]
  })
}

/**
 * From now on these are the list prices of the models that `models`, a condition on their table, chooses. A changed
 * price ends its row and opens another; an unchanged one keeps its row. Call it under a lock that others who change
 * the same prices take too: the moment of the change is read under it, so that it is never before theirs.
 */
export async function setPrices({ drizzle }: Session, models: SQL, prices: readonly Price[]): Promise<void> {
  const [clock] = await drizzle
    .select({ now: sql`now`.mapWith(price.validFrom) })
    .from(sql`(select ${nowSql} as now) as clock`)
  if (clock === undefined) throw new Error('the database gave no time')
  const { now } = clock
  const present = await drizzle
    .select({ price })
    .from(price)
    .innerJoin(modelTable, eq(modelTable.name, price.model))
    .where(and(models, eq(price.book, listBook), or(isNull(price.validTo), gt(price.validTo, now))))
    .limit(maxRows)
  const wanted = new Map(prices.map((one) => [identityOf(one), one]))
  const stays = (row: PriceRow): boolean =>
    row.validFrom <= now && row.validTo === null && wanted.delete(identityOf(row))
  const ended = present.filter((row) => !stays(row.price)).map((row) => row.price.id)
  for (const ids of chunks(ended)) {
    // A price that has not begun ends where it begins: its row stays, and holds for no moment.
    await drizzle
      .update(price)
      .set({ validTo: sql`greatest(${price.validFrom}, ${now.toISOString()}::timestamptz)` })
      .where(inArray(price.id, ids))
  }
  for (const some of chunks([...wanted.values()])) {
    await drizzle.insert(price).values(some.map((row) => ({ ...row, book: listBook, validFrom: now })))
  }
}

/** Two rows of one identity say the same, at whatever time. */
export function identityOf({ model, unit, tier, currency, nanos }: Price): string {
  return JSON.stringify([model, unit, tier, currency, String(nanos)])
}

/** The list prices that hold now: of one model, or of all. */
export async function openRows({ drizzle }: Session, model?: string): Promise<PriceRow[]> {
  return drizzle
    .select()
    .from(price)
    .where(
      and(
        model === undefined ? undefined : eq(price.model, model),
        eq(price.book, listBook),
        lte(price.validFrom, nowSql),
        or(isNull(price.validTo), gt(price.validTo, nowSql)),
      ),
    )
    .limit(maxRows)
}

/**
 * A model is sold in one currency: in dollars where it has such prices, else in the first that it has any in. Where a
 * condition cannot be read it is not sold at all: without that rate some of its calls would cost too little.
 */
export function openPrices(rows: readonly PriceRow[]): PriceSet | undefined {
  const currencies = rows.map(({ currency }) => currency).toSorted()
  const currency = currencies.includes('USD') ? 'USD' : currencies[0]
  if (currency === undefined) return undefined
  const byTier = Map.groupBy(
    rows.filter((row) => row.currency === currency),
    ({ tier }) => tier,
  )
  const rates = [...byTier].map(([tier, some]) => rateOf(tier, some))
  if (!rates.every((rate) => rate !== undefined)) return undefined
  const plain = rates.find(({ when }) => Object.keys(when).length === 0)
  return priceSet({
    currency,
    nanos: plain?.nanos ?? {},
    rates: rates.filter((rate) => rate !== plain),
    discountPpm: fullPricePpm,
  })
}

function rateOf(tier: string, rows: readonly PriceRow[]): Rate | undefined {
  const when = parseCondition(tier)
  if (when === undefined) return undefined
  const factor = rows.find(({ unit }) => unit === multiplier)
  const nanos = Object.fromEntries(
    rows.flatMap(({ unit, nanos: each }): [Unit, bigint][] => (unit === multiplier ? [] : [[unit, each]])),
  )
  return { when, nanos, ...(factor && { tokensPpm: Number(factor.nanos / nanosPerPpm) }) }
}

/** What holds, or has held, as the prices of a model. A row that was ended before it began has held for no moment. */
export function heldOnce(model: string): SQL {
  const held = or(isNull(price.validTo), gt(price.validTo, price.validFrom))
  return and(eq(price.model, model), eq(price.book, listBook), held) as SQL
}
