import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { setTimeout as wait, setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { Tiktoken } from 'tiktoken/lite'
import ranks from 'tiktoken/encoders/o200k_base.json' with { type: 'json' }
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { pieces } from '../../src/core/pieces.ts'
import { openTokenizer, type TokenizerOptions } from '../../src/platform/tokenizer.ts'
import { inlineTokenizer } from '../../src/platform/tokenizer-inline.ts'

const tokenizer = await openTokenizer()
afterAll(() => tokenizer.close())

const encoder = new Tiktoken(ranks.bpe_ranks, ranks.special_tokens, ranks.pat_str)
const exactly = (text: string) => encoder.encode_ordinary(text).length
const inPieces = (text: string) => [...pieces(text)].reduce((sum, piece) => sum + exactly(piece), 0)

test('it names the library, its installed version and the vocabulary', () => {
  const installed = new URL('../../node_modules/tiktoken/package.json', import.meta.url)
  expect(tokenizer.name).toBe(`tiktoken@${JSON.parse(readFileSync(installed, 'utf8')).version}/o200k_base`)
})

test('a known sentence has the known number of tokens', async () => {
  expect(await tokenizer.count('hello world')).toBe(2)
})

test('nothing has no tokens', async () => {
  expect(await tokenizer.count('')).toBe(0)
})

const english = 'The quick brown fox jumps over the lazy dog, and then it went home to sleep beside the fire. '

test('long English counts as tiktoken counts it whole', async () => {
  expect(await tokenizer.count(english.repeat(100))).toBe(exactly(english.repeat(100)))
})

test.each(['<|endoftext|>', '<|im_start|>', '<|fim_prefix|>', '<|endofprompt|>'])(
  'the special token %s is text like any other',
  async (text) => {
    expect(await tokenizer.count(text)).toBe(exactly(text))
    expect(await tokenizer.count(text)).toBeGreaterThan(1)
  },
)

test.each([
  ['a lone high surrogate', 'a\ud83d'],
  ['a lone low surrogate', '\ude00a'],
  ['600 lone surrogates', '\ud83d'.repeat(600)],
  ['NUL', '\0'],
  ['1,000 NUL', '\0'.repeat(1_000)],
  ['a byte order mark', '\uFEFFa\uFEFF'],
  ['a character that is none', '\uffff\u{10ffff}'],
])('%s is counted', async (_, text) => {
  expect(await tokenizer.count(text)).toBe(inPieces(text))
})

test('any text counts as its pieces do', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 1_500, size: 'max' }), async (text) => {
      expect(await tokenizer.count(text)).toBe(inPieces(text))
    }),
    { numRuns: 30 },
  )
})

test.each([
  ['100,000 identical letters', 'a'.repeat(100_000)],
  ['1,000,000 identical letters', 'a'.repeat(1_000_000)],
  ['100,000 spaces', ' '.repeat(100_000)],
  ['100,000 exclamation marks', '!'.repeat(100_000)],
  ['100,000 unbroken Chinese characters', '汉字没有空格的长文本'.repeat(10_000)],
])('%s are counted while the event loop runs', async (label, text) => {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const counted = tokenizer.count(text)
  let turns = 0
  let done = false
  void counted.then(() => (done = true))
  for (; !done; turns++) await nextTurn()
  delay.disable()
  console.log(`${label}: the longest gap of the event loop was ${(delay.max / 1e6).toFixed(0)} ms`)
  expect(turns).toBeGreaterThan(1)
  expect(await counted).toBe(inPieces(text))
})

test('a short text does not wait for a long one that came before it', async () => {
  const order: string[] = []
  const long = tokenizer.count('汉字没有空格的长文本'.repeat(10_000)).then(() => order.push('long'))
  const short = tokenizer.count('hello').then(() => order.push('short'))
  await Promise.all([long, short])
  expect(order).toEqual(['short', 'long'])
})

test('many texts count together what they count one by one', async () => {
  const texts = [
    '',
    'a',
    ' token',
    '你好',
    'x'.repeat(2_000),
    ...Array.from({ length: 3_000 }, (_, at) => `word${at} `),
  ]
  const each = await Promise.all(texts.map((text) => tokenizer.count(text)))
  const sum = each.reduce((all, tokens) => all + tokens, 0)
  expect(await tokenizer.countAll?.(texts)).toBe(sum)
  expect(await tokenizer.countAll?.(['', ''])).toBe(0)
})

test('counts that run at the same time do not mix', async () => {
  const texts = Array.from({ length: 200 }, (_, index) => english.repeat(index % 20) + index)
  expect(await Promise.all(texts.map((text) => tokenizer.count(text)))).toEqual(texts.map(inPieces))
})

const faulty = new URL('./faulty-worker.ts', import.meta.url)

async function openFaulty(options: TokenizerOptions = {}) {
  const lost: unknown[] = []
  const log = (event: string, fields: unknown) => lost.push([event, fields])
  const opened = await openTokenizer({ worker: faulty, log, restartMs: 1, ...options })
  onTestFinished(() => opened.close())
  /** Waits until a new worker answers: its counts are 1,000, estimates of this text are 1. */
  const revived = async () => {
    while ((await opened.count('ok')) !== 1_000) await wait(5)
  }
  return { opened, lost, revived }
}

test('a worker that exits is replaced, and who waited for it gets the estimate', async () => {
  const { opened, lost, revived } = await openFaulty()
  expect(await Promise.all([opened.count('exit'), opened.count('abcdef')])).toEqual([2, 2])
  await revived()
  expect(lost).toEqual([['tokenizer_lost', { reason: 'exit 3' }]])
})

test('a process that stood still for longer than any limit hears the counts that came meanwhile', async () => {
  const { opened, lost } = await openFaulty({ silentMs: 200, countMs: 200 })
  const counted = opened.count('abcdef')
  // The text is sent before the process stops.
  await nextTurn()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  expect([await counted, lost]).toEqual([1_000, []])
})

test('a worker that throws is replaced', async () => {
  const { opened, lost, revived } = await openFaulty()
  expect(await opened.count('throw')).toBe(2)
  await revived()
  expect(lost).toEqual([['tokenizer_lost', { reason: 'broken on purpose' }]])
})

test('a worker that hangs is replaced', async () => {
  const { opened, lost, revived } = await openFaulty({ silentMs: 1_000 })
  expect(await opened.count('hang')).toBe(2)
  await revived()
  expect(lost).toEqual([['tokenizer_lost', { reason: 'silent for 1000 ms' }]])
})

test('a count that takes too long is estimated, and the worker lives on', async () => {
  const { opened, lost, revived } = await openFaulty({ countMs: 50 })
  expect(await opened.count('forget')).toBe(2)
  await revived()
  expect(lost).toEqual([])
})

test('after closing, counts are estimates', async () => {
  const { opened } = await openFaulty()
  const waiting = opened.count('forget')
  await opened.close()
  expect([await waiting, await opened.count('abcdef')]).toEqual([2, 2])
})

test('more text than may wait is estimated at once', async () => {
  const { opened } = await openFaulty()
  expect(await opened.count('a'.repeat(32 * 1024 * 1024 + 1))).toBe(Math.ceil((32 * 1024 * 1024 + 1) / 3))
})

test('a tokenizer whose worker cannot load does not open', async () => {
  const missing = new URL('./no-such-worker.ts', import.meta.url)
  await expect(openTokenizer({ worker: missing })).rejects.toThrow('the tokenizer did not start')
})

test('a tokenizer that never says it is ready does not open', async () => {
  const mute = new URL('data:text/javascript,setInterval(() => {}, 1000)')
  await expect(openTokenizer({ worker: mute, startMs: 100 })).rejects.toThrow('silent for 100 ms')
})

test('an idle tokenizer does not hold its process, a waiting count does', async () => {
  const source = fileURLToPath(new URL('../../src/platform/tokenizer.ts', import.meta.url))
  const program = `
    import { openTokenizer } from ${JSON.stringify(source)}
    const tokenizer = await openTokenizer()
    console.log(await tokenizer.count('hello world'))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
  expect(stdout).toBe('2\n')
})

const inline = inlineTokenizer({ name: 'inline', encode: exactly }, () => nextTurn())

test('the tokenizer without a thread counts the same', async () => {
  const text = english.repeat(50) + '汉字'.repeat(900)
  expect(await inline.count(text)).toBe(await tokenizer.count(text))
})

test('the tokenizer without a thread lets others in', async () => {
  let done = false
  let turns = 0
  const counted = inline.count(english.repeat(200)).then(() => (done = true))
  for (; !done; turns++) await nextTurn()
  await counted
  expect(turns).toBeGreaterThan(3)
})
