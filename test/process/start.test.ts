import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type GatewayProcess, runProgram, startGatewayProcess } from '../support/process.ts'

const home = mkdtempSync(join(tmpdir(), 'tollgate-start-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const program = ['src/entry/node.ts']
const keyPattern = /sk-tg-[A-Za-z0-9]{12}-[A-Za-z0-9]{40}/

/** The keys that a start shows, by the words before them. */
function shownKeys(out: string): { readonly management: string[]; readonly master: string[] } {
  const after = (words: string) =>
    [...out.matchAll(new RegExp(`^${words} key \\(shown once\\): +(${keyPattern.source})$`, 'gm'))].map(
      ([, key]) => key ?? '',
    )
  return { management: after('Management'), master: after('Master') }
}

/** The curl command that a start prints, as what it would send. */
function curlOf(out: string): { readonly url: string; readonly headers: Headers; readonly body: string } {
  const command = /^ {2}curl (?:.*\\\n)+.*$/m.exec(out)?.[0] ?? ''
  const values = (flag: string) => [...command.matchAll(new RegExp(`${flag} '([^']*)'`, 'g'))].map(([, it]) => it ?? '')
  const headers = new Headers(values('-H').map((line) => line.split(': ') as [string, string]))
  return { url: /curl (\S+)/.exec(command)?.[1] ?? '', headers, body: values('-d')[0] ?? '' }
}

async function hello(url: string, key: string): Promise<number> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: '{"model":"sandbox/echo","messages":[{"role":"user","content":"Hello"}]}',
  })
  await answer.text()
  return answer.status
}

describe('starts on one data folder', () => {
  const data = join(home, 'data')
  const env = { TOLLGATE_DATA_DIR: data }
  const [oldKey, newKey] = ['an-old-master-key-of-ours', 'a-new-master-key-of-ours']
  let first: GatewayProcess
  let answer: { status: number; text: string }
  let intruder: Awaited<ReturnType<typeof runProgram>>
  let firstCode: number | string
  let second: GatewayProcess
  let statuses: Readonly<Record<string, number>>

  beforeAll(async () => {
    first = await startGatewayProcess(env)
    const { url, headers, body } = curlOf(first.out())
    const response = await fetch(url, { method: 'POST', headers, body })
    answer = { status: response.status, text: await response.text() }
    intruder = await runProgram(program, { ...env, PORT: '0' })
    firstCode = await first.kill('SIGTERM')

    second = await startGatewayProcess({ ...env, TOLLGATE_MASTER_KEY: oldKey })
    const before = await hello(second.url, oldKey)
    await second.kill('SIGTERM')
    const third = await startGatewayProcess({ ...env, TOLLGATE_MASTER_KEY: newKey })
    const shown = shownKeys(first.out()).master[0] ?? ''
    statuses = {
      'the preset key': before,
      'the same key after another was set': await hello(third.url, oldKey),
      'the other key': await hello(third.url, newKey),
      'the key of the first start': await hello(third.url, shown),
    }
    await third.kill('SIGTERM')
  })

  test('the first one shows a management key and a master key, once', () => {
    const key = expect.stringMatching(keyPattern) as string
    expect(shownKeys(first.out())).toEqual({ management: [key], master: [key] })
  })

  test('the first one prints a call that works as it stands', () => {
    expect(answer.status).toBe(200)
    expect((JSON.parse(answer.text) as { choices: unknown }).choices).toMatchObject([{ message: { content: 'Hello' } }])
  })

  test('a later one shows no key and no call with one', () => {
    expect(second.out()).toContain(`Tollgate serves ${second.url}\n`)
    expect(second.out()).not.toMatch(keyPattern)
    expect(second.out()).not.toContain('curl')
  })

  test('one while another runs says so and ends', () => {
    expect(intruder).toEqual({
      code: 1,
      out: '',
      error: `Another gateway is running on the data folder ${data}. Stop it first, or give this one a folder of its own (TOLLGATE_DATA_DIR).\n`,
    })
  })

  test('a gateway that is told to stop ends with 0', () => {
    expect([firstCode, first.error()]).toEqual([0, ''])
  })

  test('a master key of the environment works, and revokes the one that it named before', () => {
    expect(statuses).toEqual({
      'the preset key': 200,
      'the same key after another was set': 401,
      'the other key': 200,
      'the key of the first start': 200,
    })
  })
})

describe('a start that cannot succeed', { timeout: 90_000 }, () => {
  test('lists every fault of the configuration with its place, and of the environment', async () => {
    const config = join(home, 'bad.yaml')
    writeFileSync(config, 'server: { port: 99999 }\nmodels:\n  m:\n    targets: []\nsurprise: 1\n')
    const { code, out, error } = await runProgram(program, {
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA_DIR: join(home, 'unused'),
      TOLLGATE_MASTER_KEY: 'short',
    })
    expect([code, out]).toEqual([1, ''])
    expect(error.split('\n')).toEqual([
      `${config} cannot be used:`,
      `${config}:1:17 server.port: must be a whole number from 0 to 65535`,
      `${config}:4:14 models.m.targets: must hold at least one target`,
      expect.stringMatching(/bad\.yaml:5:1 surprise: is not known here; known are: /),
      'environment TOLLGATE_MASTER_KEY: must be 16 to 512 characters of A-Z, a-z, 0-9, "_", "." and "-"',
      '',
    ])
  })

  test('names a configuration file that is not there', async () => {
    const config = join(home, 'nowhere.yaml')
    const { code, error } = await runProgram(program, { TOLLGATE_CONFIG: config })
    expect([code, error]).toEqual([
      1,
      `${config} cannot be used:\n${config}: there is no such file. TOLLGATE_CONFIG names the configuration.\n`,
    ])
  })

  test('says that its port is taken, and has shown the keys that it made until then', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    const data = join(home, 'taken')
    mkdirSync(data)
    const { code, out, error } = await runProgram(program, {
      HOST: '127.0.0.1',
      PORT: String(port),
      TOLLGATE_DATA_DIR: data,
    })
    other.close()
    expect([code, error]).toEqual([
      1,
      `Port ${port} is taken on 127.0.0.1. Stop what listens there, or choose another with PORT.\n`,
    ])
    const { management, master } = shownKeys(out)
    expect([management.length, master.length]).toEqual([1, 1])
  })
})
