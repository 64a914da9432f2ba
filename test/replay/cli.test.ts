import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const cli = fileURLToPath(new URL('cli.ts', import.meta.url))
const own = fileURLToPath(new URL('../fixtures/recorded/', import.meta.url))
const temporary = mkdtempSync(join(tmpdir(), 'replay-cli-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

function run(...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { timeout: 25_000 }, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, out, err }),
    )
  })
}

test('a replay without a failure ends with its totals and exit code 0', async () => {
  const { code, out } = await run(own, '--vendor', 'doubao,qwen', '--kind', 'chat', '--cuts', '2')
  expect({ code, last: out.trimEnd().split('\n').at(-1) }).toEqual({ code: 0, last: '7 passed, 0 failed, 0 skipped' })
})

test('a failure is named with what differed, and the exit code is 1', async () => {
  const dir = join(temporary, 'wrong')
  cpSync(join(own, 'doubao'), join(dir, 'doubao'), { recursive: true })
  const path = join(dir, 'doubao', 'manifest.json')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"finish": "length"', '"finish": "stop"'))
  const { code, out } = await run(dir, '--cuts', '0')
  expect({ code, lines: out.split('\n') }).toEqual({
    code: 1,
    lines: [
      'vendor   passed   failed  skipped',
      'doubao        2        1        0',
      '',
      'failed',
      '  doubao/chat-sync-cached-length',
      '    as recorded: finish is "length", expected "stop"',
      '    to a caller who streams: finish is "length", expected "stop"',
      '',
      '2 passed, 1 failed, 0 skipped',
      '',
    ],
  })
})

test('--help tells what there is', async () => {
  const { code, out } = await run('--help')
  expect({ code, first: out.split('\n')[0] }).toEqual({
    code: 0,
    first: 'Replays recorded vendor traffic through a whole gateway over sockets and compares what the caller gets and',
  })
})

test.each([
  [['--speed', '2', own], /^Unknown option '--speed'/],
  [[own, '--cuts', 'many'], /^--cuts takes a whole number up to 1000000, or "all"\./],
  [[join(temporary, 'absent')], /absent is no folder\.\n$/],
])('the arguments %j are refused with exit code 2', async (args, message) => {
  const { code, out, err } = await run(...args)
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(err).toMatch(message)
})
