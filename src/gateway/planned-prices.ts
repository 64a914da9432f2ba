import { and, eq, gt, inArray, isNull, or } from 'drizzle-orm'
import { maxModels } from '../core/model-rules.ts'
import type { PriceSet } from '../core/price.ts'
import type { Session } from '../db/database.ts'
import { model as modelTable, price } from '../db/schema.ts'
import { identityOf, listBook, pricesOf } from './price-rows.ts'

/**
 * From a moment to come these are the list prices of a model of the API: rows that hold until then end there, and new
 * ones begin. Returns why nothing was changed, undefined where it was. Call it in a transaction.
 */
export async function planPrices(session: Session, model: string, plan: Plan): Promise<string | undefined> {
  const { drizzle } = session
  const [row] = await drizzle.select().from(modelTable).where(eq(modelTable.name, model)).limit(1).for('update')
  if (!row) return 'is not in the database'
  if (row.provisioned) return 'comes from the configuration file: change its prices there'
  const present = await drizzle
    .select()
    .from(price)
    .where(
      and(
        eq(price.book, listBook),
        eq(price.model, model),
        or(isNull(price.validTo), gt(price.validTo, plan.validFrom)),
      ),
    )
    .limit(maxModels)
  if (present.some(({ validFrom }) => validFrom > plan.validFrom)) return 'has other prices planned for later'
  const wanted = new Map(pricesOf(model, plan.prices).map((one) => [identityOf(one), one]))
  const ended = present.filter((old) => old.validTo !== null || !wanted.delete(identityOf(old)))
  const ids = ended.map(({ id }) => id)
  if (ids.length > 0) await drizzle.update(price).set({ validTo: plan.validFrom }).where(inArray(price.id, ids))
  const added = [...wanted.values()].map((one) => ({ ...one, book: listBook, validFrom: plan.validFrom }))
  if (added.length > 0) await drizzle.insert(price).values(added)
  return undefined
}

interface Plan {
  readonly prices: PriceSet
  readonly validFrom: Date
}
