/** A megabyte of a prompt of each kind that is hard on somebody: on a tokenizer, a parser, a scanner. */

const bytes = 1_000_000
const model = 'json-1024'

/** So many of a unit as have a megabyte in the body. */
const many = (unit: string, each = Buffer.byteLength(unit)): string => unit.repeat(Math.floor(bytes / each))
const list = <T>(length: number, of: (at: number) => T): readonly T[] => Array.from({ length }, (_, at) => of(at))

const asked = (content: unknown, more: object = {}): string =>
  JSON.stringify({ model, messages: [{ role: 'user', content }], ...more })

/** Objects in objects, as deep as is allowed. */
function nested(depth: number, count: number): string {
  return `[${list(count, () => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`).join(',')}]`
}

/** Text without a pattern, the same in each run. */
function noise(length: number): string {
  let seed = 12_345
  return Buffer.from(
    Uint8Array.from({ length: Math.ceil((length * 3) / 4) }, () => {
      seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff
      return seed >> 16
    }),
  )
    .toString('base64')
    .slice(0, length)
}

const tool = (at: number) => ({
  type: 'function',
  function: { name: `f${at}`, description: 'd', parameters: { type: 'object', properties: { a: { type: 'string' } } } },
})
const call = (at: number) => ({ id: `c${at}`, type: 'function', function: { name: 'f', arguments: '{}' } })

/** Bodies by what is in them. Each is below the bounds of a request, so that it is served. */
export const hostileBodies: Readonly<Record<string, () => string>> = {
  'one letter': () => asked(many('a')),
  'Chinese without a break': () => asked(many('你')),
  'Chinese of all kinds': () =>
    asked(list(330_000, (at) => String.fromCharCode(0x4e00 + ((at * 7_919) % 20_000))).join('')),
  spaces: () => asked(many(' ')),
  'escaped lines': () => asked(many('\n', 2)),
  'escaped letters': () => `{"model":"${model}","messages":[{"role":"user","content":"${many('\\u4f60')}"}]}`,
  backslashes: () => asked(many('\\', 2)),
  quotes: () => asked(many('"', 2)),
  emoji: () => asked(many('😀')),
  base64: () => asked(noise(bytes)),
  English: () => asked(many('The quick brown fox jumps over the lazy dog and runs away. ')),
  'deep JSON in a part': () =>
    `{"model":"${model}","messages":[{"role":"user","content":[{"type":"x","y":${nested(50, 1_900)}}]}]}`,
  'deep JSON beside': () =>
    `{"model":"${model}","messages":[{"role":"user","content":"x"}],"metadata":${nested(50, 1_900)}}`,
  '9,999 messages': () =>
    JSON.stringify({ model, messages: list(9_999, () => ({ role: 'user', content: many('x', 15_000) })) }),
  '30,000 parts': () => asked(list(30_000, () => ({ type: 'text', text: 'y' }))),
  '7,000 tools': () => asked('x', { tools: list(7_000, tool) }),
  '12,000 tool calls': () =>
    JSON.stringify({
      model,
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: null, tool_calls: list(12_000, call) },
      ],
    }),
  '480,000 numbers': () => asked('x', { metadata: list(480_000, (at) => at % 10) }),
  '90,000 names': () => asked('x', { metadata: Object.fromEntries(list(90_000, (at) => [`k${at}`, 1])) }),
  '9,900 fields': () => asked('x', Object.fromEntries(list(9_900, (at) => [`k${at}${'x'.repeat(90)}`, 1]))),
}
