import { fromBase64, toBase64 } from '../core/base64.ts'
import type { Cache } from '../ports.ts'
import type { Row, Session } from './database.ts'

const getSql = `SELECT answer FROM cached_answer WHERE name = $1::text AND until > clock_timestamp()`

const setSql = `INSERT INTO cached_answer (name, answer, until)
VALUES ($1::text, $2::text, clock_timestamp() + $3::bigint * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET answer = excluded.answer, until = excluded.until`

interface AnswerRow extends Row {
  readonly answer: string
}

/** Answers kept in the database: slower than the caches before it, and there after a restart of everything else. */
export function databaseCache(database: Session): Cache {
  return {
    kind: 'database',
    async get(name) {
      const [row] = await database.query<AnswerRow>(getSql, [name])
      return row && fromBase64(row.answer)
    },
    async set(name, bytes, ttlMs) {
      await database.query(setSql, [name, toBase64(bytes), ttlMs])
    },
  }
}
