import { describe, expect, test } from 'vitest'
import { codeOf, lineOf, sources, textOf } from './source.ts'

/** What oxlint cannot say. The bans that it can are in .oxlintrc.json; both carry their reasons. */
interface Ban {
  readonly name: string
  readonly why: string
  /** Runs over the code without comments and strings, see codeOf. */
  readonly pattern: RegExp
  /** Relative to src/. */
  readonly where: (file: string) => boolean
  readonly bad: readonly string[]
  readonly good: readonly string[]
}

const everywhere = (): boolean => true
const isOutside = (file: string): boolean => /^(?:platform|entry)\//.test(file)
const isMoney = (file: string): boolean => file.startsWith('ledger/') || /^core\/(?:money|price)\.ts$/.test(file)

const bans: readonly Ban[] = [
  {
    name: 'a value read before an await and written after it',
    why: 'Another call may have written it in between, and that write is lost: await first, then change.',
    pattern:
      /(?:[-+*/%&|^?]|\*\*|<<|>>)=(?!=|>)[^\n]*\bawait\b|(?<![\w$.])([\w$]+(?:\.[\w$#]+)+|[\w$]+)\s*=(?![=>])[^\n]*(?<![\w$.])\1(?![\w$])[^\n]*\bawait\b/g,
    where: everywhere,
    bad: ['total += await read()', 'a.b ??= await f()', 'sum = sum + (await f())', 'this.n = 1 + this.n * await f()'],
    good: [
      'const more = await read()\ntotal += more',
      'total = await read()',
      'if (a >= b) await f()',
      'x += 1\nawait f()',
    ],
  },
  {
    name: 'Number() beside money',
    why: 'A double holds 15 digits. Money is bigint from the text to the database.',
    pattern: /(?<![\w$.])(?:Number\s*\(|Number\.parse(?:Float|Int)\b|parse(?:Float|Int)\s*\()/g,
    where: isMoney,
    bad: ['Number(row.free)', 'Number.parseFloat(text)', 'parseInt(text, 10)'],
    good: ['Number.isSafeInteger(count)', 'BigInt(count)', 'asNumber(x)'],
  },
  {
    name: 'a clock',
    why: 'Only platform/ reads clocks: a time that is an argument can be tested.',
    pattern: /\bnew Date(?:\(\s*\)|(?!\s*\(|[\w$]))|(?<!new )(?<![\w$.])Date\(/g,
    where: (file) => !isOutside(file),
    bad: ['new Date()', 'new Date', 'Date()'],
    good: ['new Date(nowMs)', 'new Date(0).toISOString()', 'toDate(x)', 'Date.UTC(2026, 1)'],
  },
  {
    name: 'SQL outside db/',
    why: 'Text that is glued into SQL is how injections start, and raw rows differ by driver: db/ has the one place that runs it.',
    pattern: /\.(?:execute|unsafe)\s*\(|\bsql\.raw\s*\(|\.query\s*\(/g,
    where: (file) => !file.startsWith('db/') && !isOutside(file),
    bad: ['db.execute(text)', 'sql.raw(name)', 'client.unsafe(text)', 'pglite.query(text)'],
    good: ['db.select().from(account)', 'run.execution(1)'],
  },
  {
    name: 'a getter in an object literal',
    why: 'Each object gets a hidden class of its own, which V8 keeps with all that the getter sees until its next full collection: of a call, everything. Write a method, a field, or a class.',
    pattern: /^ {3,}get \w+\s*\(/gm,
    where: everywhere,
    bad: ['  return {\n    get size() {', '    get size (): number {'],
    good: ['class Heap {\n  get size(): number {', '    get(name) {', '    getSize() {'],
  },
  {
    name: 'a function written where a property is set',
    why: 'V8 takes it for the method of a class and makes it in the old space: what it sees lives until the next full collection, of a stream everything. Give it a name first.',
    pattern: /[\w$)\]!]\.#?[\w$]+ (?:\?\?|\|\|)?= (?:async )?(?:\([^()=]*\)(?:: [^=]+)? =>|[\w$]+ =>|function\b)/g,
    where: everywhere,
    bad: [
      'hold.measure = async () => {',
      'this.#run = (one: string): void => {',
      'a.b ??= function () {',
      'a().b = x => x',
    ],
    good: ['const measure = () => {', 'state.stop = after(ms, () => {', 'hold.measure = measure', 'state.n = (a + b)'],
  },
]

/** An exception stands on the line itself or on the one above it, with its reason: `// allowed -- a count, not money`. */
const onItsLine = /\/\/ allowed -- \S/
const onItsOwn = /^\s*\/\/ allowed -- \S/

function finds(ban: Ban, text: string): number[] {
  const lines = text.split('\n')
  const excepted = (line: number): boolean =>
    onItsLine.test(lines[line - 1] ?? '') || onItsOwn.test(lines[line - 2] ?? '')
  return [...codeOf(text).matchAll(ban.pattern)]
    .map((match) => lineOf(text, match.index + match[0].search(/\S/)))
    .filter((line) => !excepted(line))
}

describe('bans', () => {
  test.each(sources('src'))('%s has nothing banned', (file) => {
    const text = textOf(`src/${file}`)
    const faults = bans
      .filter((ban) => ban.where(file))
      .flatMap((ban) => finds(ban, text).map((line) => `src/${file}:${line} ${ban.name}. ${ban.why}`))
    expect(faults).toEqual([])
  })

  test('an exception counts with its reason only, and for its line only', () => {
    const ban = bans[1]!
    const text = [
      'Number(a) // allowed -- a count',
      '// allowed -- a count',
      'Number(b)',
      'Number(c) // allowed',
      'Number(d)',
      'Number(e) // allowed -- a count',
      'Number(f)',
    ]
    expect(finds(ban, text.join('\n'))).toEqual([4, 5, 7])
  })

  test('an empty catch carries its reason', () => {
    const bare = (file: string): string[] =>
      [...textOf(`src/${file}`).matchAll(/\bcatch\s*(?:\(\w+\)\s*)?\{\s*\}/g)].map(() => `src/${file}`)
    expect(sources('src').flatMap(bare)).toEqual([])
  })

  test('a linter that is switched off says why', () => {
    const off = /(?:ox|es)lint-disable(?:-[\w-]+)?(?![^\n]*\s--\s+\S)|@ts-(?:ignore|nocheck)/g
    const silent = (file: string): string[] =>
      [...textOf(file).matchAll(off)].map((match) => `${file}:${lineOf(textOf(file), match.index)}`)
    expect(sources('src').flatMap((file) => silent(`src/${file}`))).toEqual([])
  })

  test.each(bans.flatMap((ban) => ban.bad.map((code) => [code, ban] as const)))('%s is found', (code, ban) => {
    expect(finds(ban, code)).toHaveLength(1)
  })

  test.each(bans.flatMap((ban) => ban.good.map((code) => [code, ban] as const)))('%s is let in', (code, ban) => {
    expect(finds(ban, code)).toEqual([])
  })
})
