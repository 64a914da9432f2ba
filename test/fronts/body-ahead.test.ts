import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/core/errors.ts'
import { longBytes, readBody, readBodyAhead } from '../../src/fronts/body.ts'

const encoder = new TextEncoder()
const long = (end: string) => encoder.encode(`{"a":[${'"0123456789",'.repeat(longBytes / 13)}"x"],"b":{"c":1}${end}`)

async function ahead(bytes: Uint8Array): Promise<number> {
  let turns = 0
  await readBodyAhead(bytes, () => {
    turns++
    return Promise.resolve()
  })
  return turns
}

/** What a request is refused with. */
async function refusal(work: () => unknown): Promise<string> {
  try {
    await work()
  } catch (error) {
    return error instanceof GatewayError ? `${error.code}: ${error.message}` : String(error)
  }
  return 'taken'
}

describe('a body that is read ahead', () => {
  test('is read in turns, once, and is what it would have been', async () => {
    const bytes = long('}')
    expect(await ahead(bytes)).toBeGreaterThan(3)
    const read = readBody(bytes)
    expect(readBody(bytes)).toBe(read)
    expect(read).toEqual(readBody(bytes.slice()))
  })

  test('loses its byte order mark', async () => {
    const text = long('}')
    const bytes = new Uint8Array([0xef, 0xbb, 0xbf, ...text])
    await ahead(bytes)
    expect(readBody(bytes).raw).toEqual(text)
  })

  test('is left alone where it is short', async () => {
    const short = encoder.encode('{"a":')
    expect(await ahead(short)).toBe(0)
    expect(await refusal(() => readBody(short))).toBe('invalid_json: The body is not valid JSON.')
  })

  test.each<[string, Uint8Array]>([
    ['no JSON', long('')],
    ['JSON with something behind it', long('}}')],
    ['no UTF-8', long('}').with(20, 0xff)],
    ['a list', encoder.encode(`[${'1,'.repeat(longBytes)}1]`)],
    ['a text', encoder.encode(`"${'a'.repeat(longBytes)}"`)],
    ['too deep', encoder.encode(`{"a":${'['.repeat(longBytes)}`)],
    ['too many members', encoder.encode(`{"a":[${'{"a":1},'.repeat(100_000)}1]}`)],
  ])('is refused in the same words where it is %s', async (_, bytes) => {
    const expected = await refusal(() => readBody(bytes))
    expect(expected).toMatch(/^invalid_json: /)
    expect(await refusal(() => ahead(bytes))).toBe(expected)
  })
})
