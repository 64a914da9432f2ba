import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { databaseCache } from '../../src/db/answers.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { databaseRepeats, forgetAnswers } from '../../src/db/repeats.ts'
import type { Repeats } from '../../src/ports.ts'
import { cacheContract } from '../contracts/cache.ts'
import { noon } from './records.ts'

const leaseMs = 60_000
const ttlMs = 3_600_000
const newName = (): string => randomBytes(32).toString('hex')
const answer = Uint8Array.of(0, 255, 10)

/** Calls that must happen once, on every database that the ledger runs on. */
export function repeatsContract(kind: string, open: () => Promise<Database>): void {
  cacheContract(`answers kept ${kind}`, async () => {
    const database = await open()
    await migrate(database, noon)
    return { cache: databaseCache(database), close: () => database.close() }
  })

  describe(`calls that happen once, ${kind}`, () => {
    let database: Database
    let repeats: Repeats
    beforeAll(async () => {
      database = await open()
      await migrate(database, noon)
      repeats = databaseRepeats(database)
    }, 120_000)
    afterAll(() => database?.close())

    const begin = (name: string, owner: string, lease = leaseMs) =>
      repeats.begin(name, { owner, digest: `of ${owner[0]}`, leaseMs: lease })

    test('a name is had by one of any number who want it', async () => {
      const name = newName()
      const all = await Promise.all(Array.from({ length: 50 }, (_, at) => begin(name, `a${at}`)))
      const states = all.map(({ state }) => state).toSorted()
      expect(states).toEqual([...Array<string>(49).fill('running'), 'yours'])
    })

    test('whoever has it may ask for it again', async () => {
      const name = newName()
      await begin(name, 'a1')
      expect(await begin(name, 'a1')).toEqual({ state: 'yours' })
    })

    test('an answer is given to all who ask, with what it was the answer to', async () => {
      const name = newName()
      await begin(name, 'a1')
      await repeats.keep(name, { owner: 'a1', digest: 'of a' }, { answer, ttlMs })
      expect(await begin(name, 'b2')).toEqual({ state: 'answered', digest: 'of a', answer })
    })

    test('a name that was freed is free', async () => {
      const name = newName()
      await begin(name, 'a1')
      await repeats.free(name, 'b2')
      expect(await begin(name, 'b2')).toEqual({ state: 'running', digest: 'of a' })
      await repeats.free(name, 'a1')
      expect(await begin(name, 'b2')).toEqual({ state: 'yours' })
    })

    test('a call that says nothing for the time of its lease loses its name, and its answer comes too late', async () => {
      const name = newName()
      await begin(name, 'a1', 30)
      await vi.waitFor(async () => expect(await begin(name, 'b2')).toEqual({ state: 'yours' }), { timeout: 5_000 })
      await repeats.keep(name, { owner: 'a1', digest: 'of a' }, { answer, ttlMs })
      await repeats.free(name, 'a1')
      expect(await begin(name, 'c3')).toEqual({ state: 'running', digest: 'of b' })
    })

    test('a call that says that it runs keeps its name', async () => {
      const name = newName()
      await begin(name, 'a1', 2_000)
      await repeats.extend(name, 'a1', leaseMs)
      const rows = await database.query<{ left: boolean }>(
        `SELECT until > clock_timestamp() + interval '10 seconds' AS left FROM "repeat" WHERE name = $1::text`,
        [name],
      )
      expect(rows).toEqual([{ left: true }])
    })

    test('an answer whose name was lost and taken by nobody is kept all the same', async () => {
      const name = newName()
      await repeats.keep(name, { owner: 'a1', digest: 'of a' }, { answer, ttlMs })
      expect(await begin(name, 'b2')).toMatchObject({ state: 'answered' })
    })

    test('an answer is never changed', async () => {
      const name = newName()
      await repeats.keep(name, { owner: 'a1', digest: 'of a' }, { answer, ttlMs })
      await repeats.keep(name, { owner: 'a1', digest: 'of a' }, { answer: Uint8Array.of(1), ttlMs })
      await repeats.free(name, 'a1')
      expect(await begin(name, 'b2')).toEqual({ state: 'answered', digest: 'of a', answer })
    })

    test('what has had its time is removed, and nothing else', async () => {
      const [old, young] = [newName(), newName()]
      const cache = databaseCache(database)
      for (const [name, ms] of [
        [old, 1],
        [young, ttlMs],
      ] as const) {
        await repeats.keep(name, { owner: 'a1', digest: 'of a' }, { answer, ttlMs: ms })
        await cache.set(name, answer, ms)
      }
      const left = (table: string) =>
        database.query(`SELECT name FROM ${table} WHERE name IN ($1::text, $2::text)`, [old, young])
      await vi.waitFor(async () => {
        await forgetAnswers(database)
        expect([await left('"repeat"'), await left('cached_answer')]).toEqual([[{ name: young }], [{ name: young }]])
      })
    })
  })
}
