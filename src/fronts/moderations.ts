import type { Call, Json } from '../core/call.ts'
import type { PromptText } from '../core/prompt.ts'
import { isList } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'
import { pictureTokens, promptOf, readModel, readPart } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { callOf, operationFront } from './operation.ts'

const maxInputs = 2_048
const own = { dialect: 'moderations', operation: 'moderations' } as const

/** OpenAI's moderations: https://platform.openai.com/docs/api-reference/moderations. */
export const moderations: Front = operationFront({ ...own, paths: ['/v1/moderations'], read })

function read(bytes: Uint8Array, parts: RequestParts): Call {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, ['model', 'input'])
  const prompt = promptIn(body['input'])
  return callOf(parts, own, { raw, body, model: readModel(body), measure: { prompt, most: {}, own: {} } })
}

function promptIn(input: Json | undefined): PromptText {
  if (typeof input === 'string') return promptOf([input])
  if (!isList(input) || input.length === 0) throw wrong('input', '"input" must be a text, or a list of texts or parts.')
  if (input.length > maxInputs) throw wrong('input', `"input" has more than ${maxInputs} items.`)
  const items = input.map((item, at) => readPart(`input[${at}]`, item))
  const pictures = items.reduce((sum, item) => sum + item.pictures, 0)
  return promptOf(
    items.map(({ text }) => text),
    { fixedTokens: pictures * pictureTokens },
  )
}
