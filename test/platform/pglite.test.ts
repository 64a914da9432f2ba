import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Duplex } from 'node:stream'
import { openPglite } from '../../src/platform/pglite.ts'
import { type PgliteConnection, startPglite } from '../../src/platform/pglite-socket.ts'

const home = mkdtempSync(join(tmpdir(), 'tollgate-pglite-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

test('a folder belongs to one process, until that ends in whatever way, and what it wrote is there', async () => {
  const folder = join(home, 'data')
  const module = new URL('../../src/platform/pglite.ts', import.meta.url).href
  const script = `
    const { openPglite } = await import(${JSON.stringify(module)})
    const database = await openPglite(${JSON.stringify(folder)})
    await database.query('CREATE TABLE kept (n int)')
    await database.query('INSERT INTO kept VALUES (7)')
    process.stdout.write('ready')
    setInterval(() => {}, 1000)`
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(other.stdout, 'data')
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  await expect(openPglite(folder)).rejects.toThrow(
    `Another gateway is running on the data folder ${folder}. Stop it first`,
  )
  const ended = once(other, 'exit')
  other.kill('SIGKILL')
  await ended
  const database = await openPglite(folder)
  expect(await database.query('SELECT n FROM kept')).toEqual([{ n: 7 }])
  await expect(openPglite(folder)).rejects.toThrow('Another gateway is running')
  await database.close()
}, 120_000)

/** A database, and the connections to its threads in their turn. */
async function openWatched(name: string) {
  const sockets: Duplex[] = []
  const database = await openPglite(join(home, name), (setup) => {
    const connection = startPglite(setup)
    sockets.push(connection.socket)
    return connection
  })
  return { database, sockets }
}

test('a thread that dies is followed by another, which finds what was written', async () => {
  const { database, sockets } = await openWatched('followed')
  await database.query('CREATE TABLE kept AS SELECT 7 AS n')
  const closed = once(sockets[0] as Duplex, 'close')
  sockets[0]?.destroy()
  await closed
  expect(await database.query('SELECT n FROM kept')).toEqual([{ n: 7 }])
  expect(sockets.length).toBe(2)
  await database.close()
}, 120_000)

test('a statement whose thread dies under it fails, and is not there when it is asked for again', async () => {
  const { database, sockets } = await openWatched('under-way')
  await database.query('CREATE TABLE kept (n int)')
  const slow = database.query('INSERT INTO kept SELECT n FROM generate_series(1, 3000000) AS n')
  const failed = expect(slow).rejects.toThrow('CONNECTION_CLOSED')
  await new Promise((resolve) => setImmediate(resolve))
  sockets[0]?.destroy()
  await failed
  expect(await database.query('SELECT count(*) AS n FROM kept')).toEqual([{ n: 0n }])
  await database.close()
}, 120_000)

test('it is closed when its thread has ended, also with statements under way', async () => {
  let isOver = false
  const database = await openPglite(join(home, 'closed'), (setup) => {
    const connection = startPglite(setup)
    void connection.over.then(() => (isOver = true))
    return connection
  })
  await database.query('SELECT 1')
  const slow = database.query('SELECT count(*) AS n FROM generate_series(1, 300000)')
  // The driver takes it up in this turn.
  await new Promise((resolve) => setImmediate(resolve))
  await database.close()
  expect([isOver, await slow]).toEqual([true, [{ n: 300_000n }]])
}, 120_000)

test('one that nobody has asked anything is closed as well', async () => {
  const connections: PgliteConnection[] = []
  const database = await openPglite(join(home, 'unasked'), (setup) => {
    const connection = startPglite(setup)
    connections.push(connection)
    return connection
  })
  await database.close()
  await connections[0]?.over
  expect(connections.length).toBe(1)
}, 120_000)

test('a folder that is no database ends the start with the reason, and is free again', async () => {
  const folder = join(home, 'broken')
  mkdirSync(join(folder, 'books'), { recursive: true })
  writeFileSync(join(folder, 'books', 'PG_VERSION'), 'nine')
  for (let times = 0; times < 2; times++)
    await expect(openPglite(folder)).rejects.toThrow('PGlite failed to initialize properly')
}, 120_000)

test('a statement of many rows and its answer of many megabytes come through whole', async () => {
  const database = await openPglite()
  const text = 'ä'.repeat(3_000_000)
  expect(await database.query('SELECT $1::text AS text, length($1) AS n', [text])).toEqual([{ text, n: 3_000_000 }])
  const rows = await database.query('SELECT n, repeat($1, 100) AS text FROM generate_series(1, 20000) AS n', ['é'])
  expect(rows.length).toBe(20_000)
  expect(rows.at(-1)).toEqual({ n: 20_000, text: 'é'.repeat(100) })
  await database.close()
}, 120_000)
