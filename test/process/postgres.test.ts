import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresPrograms, type RealPostgres, startPostgres } from '../db/real-postgres.ts'
import { type GatewayProcess, runProgram, startGatewayProcess } from '../support/process.ts'

const key = 'master-key-of-the-postgres-tests'
const program = ['src/entry/node.ts']

describe.skipIf(!postgresPrograms)('a gateway with DATABASE_URL', { timeout: 90_000 }, () => {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-process-postgres-'))
  let postgres: RealPostgres
  let gateway: GatewayProcess
  let url: string

  beforeAll(async () => {
    postgres = await startPostgres(postgresPrograms ?? '')
    url = await postgres.create()
    gateway = await startGatewayProcess({
      DATABASE_URL: url,
      TOLLGATE_DATA_DIR: join(home, 'first'),
      TOLLGATE_MASTER_KEY: key,
    })
  })
  afterAll(async () => {
    await gateway.kill('SIGTERM')
    await postgres.stop()
    rmSync(home, { recursive: true, force: true })
  })

  test('answers a first call, and has its receipt in the database', async () => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body: '{"model":"sandbox/echo","messages":[{"role":"user","content":"Hello"}]}',
    })
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: 'Hello' }, finish_reason: 'stop' }] })
    const id = answer.headers.get('x-request-id') ?? ''
    const receipt = await fetch(`${gateway.url}/v1/generation?id=${id}`, { headers })
    expect(await receipt.json()).toMatchObject({ id, outcome: 'complete', usage_source: 'vendor', cost: '0' })
  })

  test('does not speak of an embedded database', () => {
    expect(gateway.out()).not.toContain('PGlite')
  })

  test('keeps a second one out of its database, in words', async () => {
    const second = await runProgram(program, { DATABASE_URL: url, TOLLGATE_DATA_DIR: join(home, 'second'), PORT: '0' })
    expect(second).toEqual({
      code: 1,
      out: '',
      error:
        'Another gateway is running on this database, and one database serves one gateway. ' +
        'Stop the other one, or give this one a database of its own (DATABASE_URL).\n',
    })
  })

  test('keeps one with another database out of its data folder, where its journal is', async () => {
    const data = join(home, 'first')
    const other = await runProgram(program, {
      DATABASE_URL: await postgres.create(),
      TOLLGATE_DATA_DIR: data,
      PORT: '0',
    })
    expect([other.code, other.error]).toEqual([
      1,
      `Another gateway is running on the data folder ${data}. Stop it first, or give this one a folder of its own (TOLLGATE_DATA_DIR).\n`,
    ])
  })

  test('says in words that its database does not answer', async () => {
    const { code, out, error } = await runProgram(program, {
      DATABASE_URL: 'postgres://postgres:not-to-be-shown@127.0.0.1:1/books',
      TOLLGATE_DATA_DIR: join(home, 'third'),
      PORT: '0',
    })
    expect([code, out, error]).toEqual([
      1,
      '',
      'The database of DATABASE_URL cannot be used: connect ECONNREFUSED 127.0.0.1:1\n',
    ])
  })
})
