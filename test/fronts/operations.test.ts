import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/core/errors.ts'
import { fieldPart, type FormPart, writeForm } from '../../src/core/form.ts'
import { embeddings } from '../../src/fronts/embeddings.ts'
import type { Front, RequestParts } from '../../src/fronts/front.ts'
import { generateEmbed } from '../../src/fronts/generate-embed.ts'
import { imageEdits, images } from '../../src/fronts/images.ts'
import { moderations } from '../../src/fronts/moderations.ts'
import { readForm } from '../../src/fronts/multipart.ts'
import { rerank } from '../../src/fronts/rerank.ts'
import { speech } from '../../src/fronts/speech.ts'
import { transcriptions, translations } from '../../src/fronts/transcriptions.ts'
import { wav } from '../support/operations.ts'

const encoder = new TextEncoder()
const parts: RequestParts = {
  id: '0198c0de-0000-7000-8000-000000000000',
  startedAtMs: 1,
  path: '/v1beta/models/m:embedContent',
  header: () => undefined,
  query: () => undefined,
}

const read = (front: Front, body: unknown, more: Partial<RequestParts> = {}) =>
  front.read(encoder.encode(JSON.stringify(body)), { ...parts, ...more })

function refusalOf(work: () => unknown): { code: string; param: string | undefined } {
  try {
    work()
  } catch (error) {
    if (error instanceof GatewayError) return { code: error.code, param: error.param }
    throw error
  }
  throw new Error('nothing was refused')
}

describe('what may be read as tokens', () => {
  test.each([
    ['a text', 'Grüße', ['Grüße'], 0],
    ['texts', ['a', 'b'], ['a', 'b'], 0],
    ['tokens', [1, 2, 3], [], 3],
    ['lists of tokens and texts', [[1, 2], 'a'], ['a'], 2],
    ['a picture', [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }], [], 1_105],
  ])('of an embedding of %s', (_, input, texts, fixedTokens) => {
    const { measure } = read(embeddings, { model: 'm', input })
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    expect(measure?.prompt).toEqual({ texts, fixedTokens, upperBound: bytes + fixedTokens })
  })

  test('of a ranking has the query again with every document', () => {
    const { measure } = read(rerank, { model: 'm', query: 'who?', documents: ['a', { text: 'b' }, { title: 'c' }] })
    expect(measure).toEqual({
      prompt: { texts: ['who?', 'a', 'b', '{"title":"c"}'], fixedTokens: 2, upperBound: 29 },
      most: { search: 1 },
      own: { search: 1 },
    })
  })

  test('of a ranking of long documents may be several searches', () => {
    const documents = Array.from({ length: 100 }, () => 'x'.repeat(1_000))
    expect(read(rerank, { model: 'm', query: 'q', documents }).measure).toMatchObject({
      most: { search: 3 },
      own: { search: 1 },
    })
  })
})

describe('what is made', () => {
  test.each([
    [{}, 1, 6_240],
    [{ n: 3, quality: 'low', size: '1024x1024' }, 3, 272],
    [{ n: 2, quality: 'medium', size: '1536x1024' }, 2, 1_584],
    [{ quality: 'hd', size: '1x1', partial_images: 2 }, 1, 6_440],
  ])('of pictures %o is held by number and tokens', (more, count, each) => {
    const { measure, choices, maxOutput } = read(images, { model: 'm', prompt: 'a cat', ...more })
    expect([measure?.most, choices, maxOutput]).toEqual([{ image: count }, count, each])
  })

  test('of speech is held by characters', () => {
    const call = read(speech, { model: 'm', input: 'Hi 世界😀', voice: 'alloy' })
    expect([call.measure?.most, call.measure?.own, call.stream, call.form]).toEqual([
      { character: 6 },
      { character: 6, audio_output: 20 },
      true,
      'bytes',
    ])
    expect(read(speech, { model: 'm', input: 'Hi', stream_format: 'sse' }).form).toBe('sse')
  })

  test('of a recording is held by its length', async () => {
    const form = await unpacked([fieldPart('model', 'm'), fieldPart('stream', 'true'), recording])
    const call = transcriptions.read(form.raw, { ...parts, form: form.parts })
    expect([call.measure?.most, call.measure?.own, call.stream, call.body]).toEqual([
      { second: 3 },
      { second: 3, audio_input: 30 },
      true,
      { model: 'm', stream: true },
    ])
  })
})

const recording: FormPart = { name: 'file', bytes: wav(3), fileName: 'a.wav', type: 'audio/wav' }

async function unpacked(given: readonly FormPart[]) {
  const { bytes, type } = writeForm(given, 'b0undary')
  const header = (name: string) => (name === 'content-type' ? type : undefined)
  return { raw: bytes, parts: await readForm(bytes, header) }
}

describe('a form', () => {
  test('comes back part by part', async () => {
    const given = [fieldPart('model', 'm'), fieldPart('include[]', 'ü'), { ...recording, fileName: 'a "b".wav' }]
    const { parts: got } = await unpacked(given)
    expect(got).toEqual([given[0], given[1], { ...given[2], fileName: 'a "b".wav' }])
  })

  test('that is none is none', async () => {
    expect(await readForm(encoder.encode('{}'), () => 'application/json')).toBeUndefined()
  })

  test.each([
    ['no boundary', 'multipart/form-data', 'x'],
    ['another boundary', 'multipart/form-data; boundary=y', '--x--'],
    ['no end', 'multipart/form-data; boundary=x', '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nvalue'],
    ['too many parts', 'multipart/form-data; boundary=x', '--x\r\n'.repeat(200)],
  ])('with %s is refused', async (_, type, body) => {
    await expect(readForm(encoder.encode(body), () => type)).rejects.toThrow(GatewayError)
  })

  test('with a field given twice is refused', async () => {
    const { raw, parts: form } = await unpacked([fieldPart('model', 'a'), fieldPart('model', 'b'), recording])
    expect(refusalOf(() => transcriptions.read(raw, { ...parts, form }))).toEqual({
      code: 'invalid_value',
      param: 'model',
    })
  })

  test.each([
    ['without a recording', [fieldPart('model', 'm')]],
    ['with two recordings', [fieldPart('model', 'm'), recording, recording]],
    ['with an empty recording', [fieldPart('model', 'm'), { ...recording, bytes: new Uint8Array(0) }]],
  ])('%s is refused', async (_, given) => {
    const { raw, parts: form } = await unpacked(given)
    for (const front of [transcriptions, translations])
      expect(refusalOf(() => front.read(raw, { ...parts, form })).param).toBe('file')
  })

  test('of anything is read or refused', async () => {
    const noise = fc.uint8Array({ maxLength: 200 })
    await fc.assert(
      fc.asyncProperty(noise, fc.nat(400), async (bytes, at) => {
        const { bytes: form, type } = writeForm([fieldPart('model', 'm'), recording], 'x')
        const raw = new Uint8Array([...form.subarray(0, at), ...bytes, ...form.subarray(at, 600)])
        const got = await readForm(raw, () => type).catch((error: unknown) => error)
        expect(Array.isArray(got) || got instanceof GatewayError).toBe(true)
      }),
      { numRuns: 100 },
    )
  })
})

describe('a request is refused that', () => {
  test.each([
    ['names no model', embeddings, { input: 'a' }, 'model'],
    ['embeds nothing', embeddings, { model: 'm', input: '' }, 'input'],
    ['embeds an empty text', embeddings, { model: 'm', input: ['a', ''] }, 'input[1]'],
    ['embeds a number', embeddings, { model: 'm', input: [1.5] }, 'input[0]'],
    ['embeds too much', embeddings, { model: 'm', input: Array(2_049).fill('a') }, 'input'],
    ['wants vectors of no length', embeddings, { model: 'm', input: 'a', dimensions: 0 }, 'dimensions'],
    ['moderates nothing', moderations, { model: 'm' }, 'input'],
    ['ranks nothing', rerank, { model: 'm', query: 'q', documents: [] }, 'documents'],
    ['ranks for nothing', rerank, { model: 'm', documents: ['a'] }, 'query'],
    ['draws nothing', images, { model: 'm' }, 'prompt'],
    ['draws too many', images, { model: 'm', prompt: 'a', n: 129 }, 'n'],
    ['edits nothing', imageEdits, { model: 'm', prompt: 'a' }, 'images'],
    ['says nothing', speech, { model: 'm', input: '' }, 'input'],
    ['says it in another form', speech, { model: 'm', input: 'a', stream_format: 'x' }, 'stream_format'],
    ['hears no form', transcriptions, { model: 'm' }, 'file'],
    ['embeds no content', generateEmbed, {}, 'content'],
  ])('%s', (_, front, body, param) => {
    expect(refusalOf(() => read(front, body))).toEqual({ code: 'invalid_value', param })
  })

  test('is anything else than these, with an error of ours', () => {
    const all = [embeddings, moderations, rerank, images, imageEdits, speech, transcriptions, generateEmbed]
    const names = fc.constantFrom(
      'model',
      'input',
      'documents',
      'query',
      'prompt',
      'n',
      'content',
      'requests',
      'images',
    )
    const body = fc.dictionary(names, fc.jsonValue({ maxDepth: 3 }))
    fc.assert(
      fc.property(fc.constantFrom(...all), body, (front, given) => {
        try {
          read(front, given)
        } catch (error) {
          expect(error).toBeInstanceOf(GatewayError)
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe("Google's embeddings", () => {
  const content = { parts: [{ text: 'a' }, { text: 'b' }] }

  test("are OpenAI's in other words", () => {
    const call = read(generateEmbed, { content, outputDimensionality: 3 })
    expect(call.inner).toEqual({ model: 'm', input: ['ab'], dimensions: 3 })
    expect(generateEmbed.reply(call, { data: [{ embedding: [1, 2] }] })).toEqual({ embedding: { values: [1, 2] } })
  })

  test('of several contents come in their order', () => {
    const path = '/v1beta/models/m:batchEmbedContents'
    const call = read(generateEmbed, { requests: [{ content }, { content: { parts: [{ text: 'c' }] } }] }, { path })
    expect(call.inner).toEqual({ model: 'm', input: ['ab', 'c'] })
    expect(generateEmbed.reply(call, { data: [{ embedding: [1] }, { embedding: 'AACAPw==' }] })).toEqual({
      embeddings: [{ values: [1] }, { values: [1] }],
    })
  })

  test('of a picture are for a vendor of the dialect alone', () => {
    const picture = { parts: [{ inlineData: { mimeType: 'image/png', data: 'AAAA' } }] }
    expect(read(generateEmbed, { content: picture }).beyond?.param).toBe('content.parts')
  })
})
