import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openPglite } from '../../src/platform/pglite.ts'

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
