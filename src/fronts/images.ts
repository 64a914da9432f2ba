import type { Call, Json, JsonObject } from '../core/call.ts'
import type { FormPart } from '../core/form.ts'
import { isList } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'
import { pictureTokens, promptOf, readCount, readFlag, readModel, readText } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { fieldsOf, filesIn, readForm } from './multipart.ts'
import { callOf, operationFront } from './operation.ts'

const maxImages = 128
const maxInputImages = 32
const maxPartials = 16
/**
 * Tokens of a picture by quality, of a square one and of a longer one, as OpenAI publishes them for its models that
 * count so: https://platform.openai.com/docs/guides/image-generation#cost-and-latency.
 */
const tokensByQuality: Readonly<Record<string, readonly [square: number, long: number]>> = {
  low: [272, 408],
  standard: [1_056, 1_584],
  medium: [1_056, 1_584],
  high: [4_160, 6_240],
}
const partialTokens = 100
/** What a picture to be edited can come to when all its detail is read. */
const mostPictureTokens = 6_240

const fields = { numbers: ['n', 'partial_images', 'output_compression'], flags: ['stream', 'watermark'] }
const readFields: readonly string[] = ['model', 'prompt', 'n', 'size', 'quality', 'stream', 'response_format']

const generations = { dialect: 'images', operation: 'images' } as const
const edited = { dialect: 'image-edits', operation: 'images' } as const

/** OpenAI's pictures: https://platform.openai.com/docs/api-reference/images. */
export const images: Front = operationFront({
  ...generations,
  paths: ['/v1/images/generations'],
  read(bytes, parts) {
    const { raw, body } = readBody(bytes)
    refuseDoubles(raw, readFields)
    return imageCall(parts, generations, { raw, body, pictures: 0 })
  },
})

/** Their edits, as a form with files or as a body with addresses. */
export const imageEdits: Front = operationFront({
  ...edited,
  paths: ['/v1/images/edits'],
  unpack: readForm,
  read: readEdit,
})

function readEdit(bytes: Uint8Array, parts: RequestParts): Call {
  const { form } = parts
  if (form) return readEditForm(bytes, parts, form)
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, [...readFields, 'images', 'image'])
  const pictures = picturesIn(body['images'] ?? body['image'])
  return imageCall(parts, edited, { raw, body, pictures })
}

function readEditForm(raw: Uint8Array, parts: RequestParts, form: readonly FormPart[]): Call {
  const body = fieldsOf(form, fields)
  const pictures = filesIn(form, 'image')
  if (pictures.length === 0) throw wrong('image', 'Send the picture to be edited as a file in "image".')
  if (pictures.length > maxInputImages) throw wrong('image', `"image" has more than ${maxInputImages} files.`)
  const count = pictures.length + filesIn(form, 'mask').length
  const call = imageCall(parts, edited, { raw, body, pictures: count })
  return { ...call, parts: form }
}

function picturesIn(given: Json | undefined): number {
  const count = isList(given) ? given.length : given === undefined || given === null ? 0 : 1
  if (count === 0) throw wrong('images', '"images" must be a list with at least one picture.')
  if (count > maxInputImages) throw wrong('images', `"images" has more than ${maxInputImages} pictures.`)
  return count
}

interface Wanted {
  readonly raw: Uint8Array
  readonly body: JsonObject
  /** How many are sent along. */
  readonly pictures: number
}

function imageCall(
  parts: RequestParts,
  own: typeof generations | typeof edited,
  { raw, body, pictures }: Wanted,
): Call {
  const model = readModel(body)
  const prompt = promptOf([readText(body, 'prompt')], {
    fixedTokens: pictures * pictureTokens,
    slack: pictures * (mostPictureTokens - pictureTokens),
  })
  const count = readCount(body, 'n', maxImages) ?? 1
  const stream = readFlag(body, 'stream') ?? false
  const each = tokensOfImage(body)
  const measure = { prompt, most: { image: count }, own: { image: count, image_output: count * each } }
  const more = { stream, choices: count, maxOutput: each + partialTokens * (readPartials(body) ?? 0) }
  return callOf(parts, own, { raw, body, model, measure, more })
}

/** None may be asked for. */
function readPartials(body: JsonObject): number | undefined {
  return body['partial_images'] === 0 ? 0 : readCount(body, 'partial_images', maxPartials)
}

/** Where the vendor may choose, it may choose the dearest. */
function tokensOfImage({ quality, size }: JsonObject): number {
  const name = typeof quality === 'string' && Object.hasOwn(tokensByQuality, quality) ? quality : 'high'
  const [square, long] = tokensByQuality[name] ?? [mostPictureTokens, mostPictureTokens]
  const [width, height] = /^(\d{2,5})x(\d{2,5})$/.exec(typeof size === 'string' ? size : '')?.slice(1) ?? []
  return width !== undefined && width === height ? square : long
}
