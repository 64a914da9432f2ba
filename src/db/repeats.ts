import { fromBase64, toBase64 } from '../core/base64.ts'
import type { Repeats } from '../ports.ts'
import type { Row, Session } from './database.ts'

/*
 * Calls that must happen once, in the database: so they survive every gateway, and any number of gateways share them.
 * Time is the database's own, because the clocks of gateways differ.
 */

const beginSql = `INSERT INTO "repeat" AS r (name, owner, digest, until)
VALUES ($1::text, $2::text, $3::text, clock_timestamp() + $4::int * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, digest = excluded.digest, answer = NULL, until = excluded.until
WHERE r.until <= clock_timestamp() OR (r.owner = excluded.owner AND r.answer IS NULL)
RETURNING name`

const standingSql = `SELECT digest, answer FROM "repeat" WHERE name = $1::text AND until > clock_timestamp()`

const extendSql = `UPDATE "repeat" SET until = clock_timestamp() + $3::int * interval '1 millisecond'
WHERE name = $1::text AND owner = $2::text AND answer IS NULL`

const keepSql = `INSERT INTO "repeat" AS r (name, owner, digest, answer, until)
VALUES ($1::text, $2::text, $3::text, $4::text, clock_timestamp() + $5::int * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET answer = excluded.answer, until = excluded.until
WHERE r.owner = excluded.owner AND r.answer IS NULL`

const freeSql = `DELETE FROM "repeat" WHERE name = $1::text AND owner = $2::text AND answer IS NULL`

const forgetSql = (table: 'repeat' | 'cached_answer') =>
  `DELETE FROM "${table}" WHERE name IN (SELECT name FROM "${table}" WHERE until <= clock_timestamp() LIMIT $1::int)`

/** Those that end last stay. */
const trimSql = `DELETE FROM cached_answer WHERE name IN
(SELECT name FROM cached_answer ORDER BY until DESC OFFSET $1::int LIMIT $2::int)`

/** Rows that are removed at once, and answers that are left in the table. */
const forgetRows = 10_000
const maxAnswers = 100_000
/** Between the two looks at a name another gateway may free it: then it is taken at the next. */
const looks = 5

interface StandingRow extends Row {
  readonly digest: string
  readonly answer: string | null
}

export function databaseRepeats(database: Session): Repeats {
  return {
    async begin(name, { owner, digest, leaseMs }) {
      for (let look = 0; look < looks; look++) {
        const taken = await database.query(beginSql, [name, owner, digest, leaseMs])
        if (taken.length > 0) return { state: 'yours' }
        const [row] = await database.query<StandingRow>(standingSql, [name])
        if (!row) continue
        const { digest: asked, answer } = row
        return answer === null
          ? { state: 'running', digest: asked }
          : { state: 'answered', digest: asked, answer: fromBase64(answer) }
      }
      throw new Error(`the name of a call is taken and freed again, ${looks} times`)
    },
    async extend(name, owner, leaseMs) {
      await database.query(extendSql, [name, owner, leaseMs])
    },
    async keep(name, { owner, digest }, { answer, ttlMs }) {
      await database.query(keepSql, [name, owner, digest, toBase64(answer), ttlMs])
    },
    async free(name, owner) {
      await database.query(freeSql, [name, owner])
    },
  }
}

/** Removes what is no longer good, and of cached answers what is too much, some rows at a time; for a job. */
export async function forgetAnswers(database: Session): Promise<void> {
  await database.query(forgetSql('repeat'), [forgetRows])
  await database.query(forgetSql('cached_answer'), [forgetRows])
  await database.query(trimSql, [maxAnswers, forgetRows])
}
