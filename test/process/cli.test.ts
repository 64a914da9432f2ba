import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBooks } from '../../src/db/books.ts'
import { migrations } from '../../src/db/migrations.ts'
import { issueKey } from '../../src/gateway/issue-key.ts'
import { openCrypto } from '../../src/platform/crypto.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { root, textOf } from '../source.ts'
import { nodeProgram, type Program, runProgram, startProgram, until } from '../support/process.ts'

const home = mkdtempSync(join(tmpdir(), 'tollgate-cli-'))
const data = join(home, 'data')
afterAll(() => rmSync(home, { recursive: true, force: true }))

const env = { TOLLGATE_DATA_DIR: data, HOST: '127.0.0.1', PORT: '0' }
const tollgate = (...args: string[]) => runProgram(['src/entry/cli.ts', ...args], env)
const { version } = JSON.parse(textOf('package.json')) as { version: string }

describe('the command', () => {
  test('runs by its name, as a link to its file', () => {
    const link = join(home, 'tollgate')
    symlinkSync(join(root, 'src/entry/cli.ts'), link)
    const path = `${dirname(nodeProgram)}:${process.env['PATH'] ?? ''}`
    expect(execFileSync(link, ['--version'], { encoding: 'utf8', env: { PATH: path } })).toBe(`${version}\n`)
  })

  test('explains itself', async () => {
    const { code, out, error } = await tollgate('--help')
    expect([code, error]).toEqual([0, ''])
    for (const word of [
      'serve',
      'migrate',
      'key issue',
      'ledger check',
      'ledger recompute',
      'ledger vendors',
      '--version',
    ])
      expect(out).toContain(word)
  })

  test.each([
    [[], 'A command is missing.'],
    [['ledger', 'cheque'], 'There is no command "ledger cheque".'],
    [['key', 'issue', '--kind', 'sub'], '--kind must be master or management.'],
    [['key', 'issue', '--kind', 'management', '--account', 'default'], 'A management key has no --account.'],
    [['migrate', '--kind', 'master'], '--kind and --account belong to "key issue".'],
    [['migrate', '--share', '0.1'], '--share belongs to "ledger recompute".'],
    [['ledger', 'check', '--days', '1'], '--days belongs to "ledger vendors".'],
    [['ledger', 'recompute', '--share', '0'], '--share must be more than 0 and at most 1, with at most six decimals.'],
    [['ledger', 'recompute', '--share', '1.000001'], '--share must be more than 0 and at most 1, with at most six'],
    [['ledger', 'vendors', '--days', '0'], '--days must be a whole number from 1 to 3660.'],
    [['ledger'], 'There is no command "ledger".'],
    [['serve', '--port', '1'], "Unknown option '--port'"],
  ])('%j is wrong use', async (args, text) => {
    const { code, out, error } = await tollgate(...args)
    expect([code, out]).toEqual([2, ''])
    expect(error.startsWith(text)).toBe(true)
    expect(error).toContain('Usage: tollgate COMMAND')
  })
})

describe('prices import', () => {
  test('explains itself', async () => {
    const { code, out, error } = await tollgate('prices', 'import', '--help')
    expect([code, out.startsWith('tollgate prices import PATH... [options]\n'), error]).toEqual([0, true, ''])
  })

  test('without a list is wrong use', async () => {
    const { code, out, error } = await tollgate('prices', 'import')
    expect([code, out, error.split('\n')[0]]).toEqual([2, '', 'Name at least one file or folder of price lists.'])
  })
})

describe('on a data folder', () => {
  type Ran = Awaited<ReturnType<typeof runProgram>>
  const ran: Record<string, Ran> = {}
  let gateway: Program
  let accepted: number
  let corrupted: Ran
  let refusal: string

  beforeAll(async () => {
    ran['migrate'] = await tollgate('migrate')
    await change(async (database) => {
      await openBooks(database).createAccount({ name: 'acme', currency: 'USD' })
      const crypto = openCrypto('any secret will do')
      refusal = await issueKey({ database, crypto }, { kind: 'master', account: 'nobody' }).catch(String)
    })
    ran['key issue'] = await tollgate('key', 'issue', '--kind', 'master', '--account', 'acme')
    gateway = startProgram(['src/entry/cli.ts', 'serve'], env)
    const url = await until('a gateway', () => /^Tollgate serves (\S+)$/m.exec(gateway.out())?.[1])
    const key = ran['key issue'].out.trim()
    accepted = (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status
    ran['ledger check beside a gateway'] = await tollgate('ledger', 'check')
    await gateway.kill('SIGTERM')
    ran['ledger check'] = await tollgate('ledger', 'check')
    ran['ledger recompute'] = await tollgate('ledger', 'recompute', '--share', '1')
    ran['ledger vendors'] = await tollgate('ledger', 'vendors')
    await change(async (database) => {
      await database.query("UPDATE ledger_account SET posted = posted + 1, free = free + 1 WHERE kind = 'wallet'")
    })
    corrupted = await tollgate('ledger', 'check')
  })

  async function change(work: (database: Awaited<ReturnType<typeof openPglite>>) => Promise<void>): Promise<void> {
    const database = await openPglite(join(data, 'pglite'))
    await work(database)
    await database.close()
  }

  test('migrate says what it applied', () => {
    const applied = migrations.map(({ name }) => `applied ${name}\n`).join('')
    expect(ran['migrate']).toEqual({ code: 0, out: applied, error: '' })
  })

  test('key issue prints a key that the gateway takes', () => {
    const out = expect.stringMatching(/^sk-tg-[A-Za-z0-9]{12}-[A-Za-z0-9]{40}\n$/) as string
    expect(ran['key issue']).toEqual({ code: 0, out, error: '' })
    expect(accepted).toBe(200)
  })

  test('no key is issued for an account that is not there', () => {
    expect(refusal).toBe('GatewayError: There is no account named "nobody".')
  })

  test('a gateway makes no first master key where one was issued', () => {
    expect(gateway.out().match(/^\w+ key \(shown once\)/gm)).toEqual(['Management key (shown once)'])
  })

  test('ledger check finds nothing in books that are right, and says how they stand', () => {
    const [verdict, figures, comparison, ...rest] = (ran['ledger check']?.out ?? '').split('\n')
    expect([ran['ledger check']?.code, ran['ledger check']?.error]).toEqual([0, ''])
    expect([verdict, rest]).toEqual(['The books are right.', ['']])
    expect(figures).toMatch(/^USD: \d+ in \d purses, 0 of it lent, 0 overdrawn by 0$/)
    expect(comparison).toMatch(
      /^A gateway compared itself at \S+Z: \d accounts, 0 busy, 0 purses drift, 0 above and 0 below the books\.$/,
    )
  })

  test('ledger check prints each violation and ends with 1', () => {
    const broken = corrupted.out.split('\n').filter((line) => line.startsWith('I'))
    expect([corrupted.code, corrupted.error, broken.length > 0]).toEqual([1, '', true])
    expect(broken.filter((line) => !/^I2 a ledger account is the sum of its postings: \d+: /.test(line))).toEqual([])
    expect(corrupted.out).not.toContain('The books are right.')
  })

  test('ledger recompute and ledger vendors read books without a call', () => {
    expect(ran['ledger recompute']).toEqual({
      code: 0,
      out: '0 calls reckoned again, 0 come out otherwise.\n',
      error: '',
    })
    expect(ran['ledger vendors']).toEqual({ code: 0, out: 'No vendor has reported what a call cost.\n', error: '' })
  })

  test('an embedded database that a gateway has is left alone', () => {
    const { code, out, error } = ran['ledger check beside a gateway'] ?? { code: 0, out: '', error: '' }
    expect([code, out]).toEqual([1, ''])
    expect(error).toContain('Another gateway is running on the data folder')
  })
})
