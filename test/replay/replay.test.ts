import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { replay } from './replay.ts'
import type { VendorReport } from './report.ts'

const own = fileURLToPath(new URL('../fixtures/recorded/', import.meta.url))
/** Recordings beside the repository, where they are at hand at all. */
const shared = fileURLToPath(new URL('../../../shared/fixtures/', import.meta.url))
const hasShared = existsSync(shared)
if (!hasShared) process.stdout.write('skipped: there are no recorded fixtures beside this repository\n')

const temporary = mkdtempSync(join(tmpdir(), 'replay-test-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

const progress = () => {}
const summary = (reports: readonly VendorReport[]) =>
  reports.map(({ vendor, passed, failures, skipped }) => ({ vendor, passed, failures, skipped: [...skipped] }))

describe('recordings of our own', () => {
  test('come out as their manifests say, whole, byte by byte and cut in two', { timeout: 60_000 }, async () => {
    expect(summary(await replay({ dir: own, cuts: 40, progress }))).toEqual([
      { vendor: 'anthropic', passed: 3, failures: [], skipped: [] },
      { vendor: 'deepseek', passed: 3, failures: [], skipped: [] },
      { vendor: 'doubao', passed: 3, failures: [], skipped: [] },
      { vendor: 'gemini', passed: 3, failures: [], skipped: [] },
      { vendor: 'openai', passed: 7, failures: [], skipped: [] },
      { vendor: 'qwen', passed: 4, failures: [], skipped: [] },
    ])
  })
})

describe('recordings of our own in the dialects that their vendors do not speak', () => {
  test('say the same, and cost the same', { timeout: 60_000 }, async () => {
    const reports = summary(await replay({ dir: own, crossed: true, progress }))
    const several = 'several choices, which not every dialect can ask for'
    expect(reports.map(({ skipped: _, ...report }) => report)).toEqual([
      { vendor: 'anthropic', passed: 3, failures: [] },
      { vendor: 'deepseek', passed: 3, failures: [] },
      { vendor: 'doubao', passed: 3, failures: [] },
      { vendor: 'gemini', passed: 3, failures: [] },
      { vendor: 'openai', passed: 6, failures: [] },
      { vendor: 'qwen', passed: 4, failures: [] },
    ])
    expect(reports.flatMap(({ skipped }) => skipped)).toEqual([[several, 1]])
  })
})

describe.skipIf(!hasShared)('recorded traffic', () => {
  test('of what is no conversation comes out as its vendor sent it', { timeout: 60_000 }, async () => {
    const kinds = ['embeddings', 'images', 'audio', 'rerank', 'moderations']
    const reports = await replay({ dir: shared, vendors: ['openai', 'cohere', 'gemini', 'mistral'], kinds, progress })
    expect(reports.map(({ vendor, passed, failures }) => ({ vendor, isEmpty: passed === 0, failures }))).toEqual(
      ['cohere', 'gemini', 'mistral', 'openai'].map((vendor) => ({ vendor, isEmpty: false, failures: [] })),
    )
  })

  test.each([
    ['anthropic', 'messages', false],
    ['anthropic', 'messages', true],
    ['gemini', 'generateContent', false],
    ['gemini', 'generateContent', true],
    ['vertex', 'generateContent', false],
    ['azure', 'responses', false],
    ['doubao', 'chat', true],
  ])('of %s (%s) comes out as its manifest says (crossed: %s)', { timeout: 90_000 }, async (vendor, kind, crossed) => {
    const [report] = await replay({ dir: shared, vendors: [vendor], kinds: [kind], cuts: 2, crossed, progress })
    expect({ failures: report?.failures, isEmpty: report?.passed === 0 }).toEqual({ failures: [], isEmpty: false })
  })

  test.each(['openai', 'deepseek', 'qwen', 'doubao'])(
    'of %s comes out as its manifest says',
    { timeout: 90_000 },
    async (vendor) => {
      const [report] = await replay({ dir: shared, vendors: [vendor], kinds: ['chat'], cuts: 24, progress })
      expect({ vendor, failures: report?.failures, isEmpty: report?.passed === 0 }).toEqual({
        vendor,
        failures: [],
        isEmpty: false,
      })
    },
  )
})

type Fields = Record<string, unknown>
interface Changed {
  readonly vendor: string
  readonly id: string
  /** Changes the entry, or the body where it returns one. */
  readonly change: (entry: Fields, body: string) => string | void
  /** Asked for in the dialects that its vendor does not speak. */
  readonly crossed?: boolean
}

let folders = 0

/** The differences that are found when one of our own entries is not what its manifest says. */
async function differencesAfter({ vendor, id, change, crossed = false }: Changed): Promise<readonly string[]> {
  const dir = join(temporary, String(++folders))
  cpSync(join(own, vendor), join(dir, vendor), { recursive: true })
  const path = join(dir, vendor, 'manifest.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as { entries: Fields[] }
  const entries = manifest.entries.filter((entry) => entry['id'] === id)
  const [entry = {}] = entries
  const body = join(dir, vendor, String(entry['response_file']))
  const changed = change(entry, readFileSync(body, 'utf8'))
  if (typeof changed === 'string') writeFileSync(body, changed)
  writeFileSync(path, JSON.stringify({ vendor, count: 1, entries }))
  const [report] = await replay({ dir, cuts: 1, crossed, progress })
  return report?.failures.flatMap(({ differences }) => differences) ?? []
}

const within = (entry: Fields, name: string): Fields => entry[name] as Fields

describe('a replay fails', () => {
  const thoughtful = { vendor: 'anthropic', id: 'messages-stream-thinking-tool' }

  test.each([false, true])(
    'where a vendor of another dialect counted one more token (crossed: %s)',
    async (crossed) => {
      const change = (entry: Fields): void => void (within(entry, 'metering')['output'] = 42)
      const found = await differencesAfter({ ...thoughtful, change, crossed })
      expect(found.filter((line) => line.endsWith('metered output is 41, expected 42')).length).toBeGreaterThan(2)
    },
  )

  test.each([false, true])(
    'where a vendor of another dialect has said something else (crossed: %s)',
    async (crossed) => {
      const change = (entry: Fields): void => void (within(entry, 'expect')['text'] = 'Good day')
      const found = await differencesAfter({ ...thoughtful, change, crossed })
      expect(found.filter((line) => line.endsWith('expected "Good day"')).length).toBeGreaterThan(0)
    },
  )

  const greeting = { vendor: 'openai', id: 'chat-stream-crlf-comments' }

  test('where another text was expected', async () => {
    const found = await differencesAfter({
      ...greeting,
      change: (entry) => void (within(entry, 'expect')['text'] = 'Good day'),
    })
    expect(found).toEqual(
      ['in one piece', 'gathered as gpt-own', 'gathered as gathered/gpt-own'].map(
        (label) => `${label}: text is "Grüß Gott, 你好，world 👋🏽!\\n", expected "Good day"`,
      ),
    )
  })

  test('where another reasoning was expected', async () => {
    const found = await differencesAfter({
      vendor: 'qwen',
      id: 'chat-sync-reasoning',
      change: (entry) => void (within(entry, 'expect')['reasoning_chars'] = 11),
    })
    expect(found).toEqual(
      ['as recorded', 'to a caller who streams'].map((label) => `${label}: reasoning_chars is 10, expected 11`),
    )
  })

  test('where another argument of a tool was expected', async () => {
    const found = await differencesAfter({
      vendor: 'qwen',
      id: 'chat-stream-tool-arguments-in-pieces',
      change(entry) {
        const [call] = within(entry, 'expect')['tool_calls'] as Fields[]
        if (call) call['arguments'] = { city: '杭州' }
      },
    })
    expect(found).toHaveLength(3)
    expect(found[0]).toMatch(/^in one piece: tool_calls is .*°C.*, expected .*杭州"}}\]$/)
  })

  test('where one more token was expected, for the count and for the charge', async () => {
    const found = await differencesAfter({
      vendor: 'doubao',
      id: 'chat-sync-cached-length',
      change: (entry) => void (within(entry, 'metering')['output'] = 7),
    })
    const perCall = [
      'metered output is 6, expected 7',
      'receipt charge is "625201", expected "640201"',
      'receipt priced is "625201", expected "640201"',
    ]
    expect(found).toEqual(
      ['as recorded', 'to a caller who streams'].flatMap((label) => perCall.map((line) => `${label}: ${line}`)),
    )
  })

  test('where a token was expected at another price', async () => {
    const found = await differencesAfter({
      vendor: 'doubao',
      id: 'chat-sync-cached-length',
      change: (entry) => void (within(entry, 'metering')['cache_read'] = 1023),
    })
    expect(found.slice(0, 2)).toEqual([
      'as recorded: metered input is 76, expected 77',
      'as recorded: metered cached_input is 1024, expected 1023',
    ])
  })

  test('where the vendor tells no usage although some was expected', async () => {
    const found = await differencesAfter({
      ...greeting,
      change: (_, body) => body.replace(/data: [^\n]*"choices":\[\],"usage":[^\n]*\r\n\r\n/, ''),
    })
    expect(found[0]).toBe('in one piece: receipt source is "counted", expected "vendor"')
  })

  test('where a stream stops before its end', async () => {
    const found = await differencesAfter({
      ...greeting,
      change: (_, body) => body.slice(0, body.lastIndexOf('data:', body.indexOf('"wor"'))),
    })
    expect(found.filter((line) => line.startsWith('in one piece'))).toContain('in one piece: the stream has no end')
  })

  test('where an error was expected to have content before it', async () => {
    const found = await differencesAfter({
      vendor: 'deepseek',
      id: 'chat-stream-out-of-resources',
      change: (entry) => void (entry['features'] = []),
    })
    expect(found).toContain('in one piece: the stream holds an error')
  })
})

describe('a folder', () => {
  test('that no adapter is named after is skipped with the reason', async () => {
    const dir = join(temporary, 'stranger')
    cpSync(join(own, 'qwen'), join(dir, 'stranger'), { recursive: true })
    expect(summary(await replay({ dir, progress }))).toEqual([
      {
        vendor: 'stranger',
        passed: 0,
        failures: [],
        skipped: [['no adapter has the name of this folder', 4]],
      },
    ])
  })

  test('with other kinds has those skipped with the reason', async () => {
    const dir = join(temporary, 'kinds')
    cpSync(join(own, 'qwen'), join(dir, 'qwen'), { recursive: true })
    const path = join(dir, 'qwen', 'manifest.json')
    const entries = [
      { id: 'a', kind: 'native-task' },
      { id: 'b', kind: 'batch' },
      { id: 'c', kind: 'native-task' },
    ]
    writeFileSync(path, JSON.stringify({ entries }))
    expect(summary(await replay({ dir, progress }))).toEqual([
      {
        vendor: 'qwen',
        passed: 0,
        failures: [],
        skipped: [
          ['kind native-task is not replayed', 2],
          ['kind batch is not replayed', 1],
        ],
      },
    ])
  })
})
