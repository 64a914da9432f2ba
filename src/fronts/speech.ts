import type { Call } from '../core/call.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'
import { promptOf, readModel, readText, readWord } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { callOf, operationFront } from './operation.ts'

const maxCharacters = 1_000_000
/**
 * Twenty tokens are a second of speech, which is some fourteen letters of an alphabet, or four signs for syllables. No
 * vendor says more of bytes than that they are over, so this stands for what it would have counted.
 */
const tokensPerLetter = 1.5
const tokensPerSign = 5
/** Slow speech and pauses. */
const slack = 3
const lastLetter = 0x2e7f
const own = { dialect: 'speech', operation: 'speech' } as const

/** OpenAI's speech: https://platform.openai.com/docs/api-reference/audio/createSpeech. Bytes, or events with bytes in base64. */
export const speech: Front = operationFront({ ...own, paths: ['/v1/audio/speech'], read })

function read(bytes: Uint8Array, parts: RequestParts): Call {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, ['model', 'input', 'instructions', 'response_format', 'stream_format'])
  const model = readModel(body)
  const input = readText(body, 'input')
  if (input.length > maxCharacters) throw wrong('input', `"input" is longer than ${maxCharacters} characters.`)
  const format = readWord(body, 'stream_format', ['audio', 'sse'])
  const { instructions } = body
  const { characters, tokens } = sizeOf(input)
  const measure = {
    prompt: promptOf([input, typeof instructions === 'string' ? instructions : '']),
    most: { character: characters },
    own: { character: characters, audio_output: tokens },
    audio: true,
  }
  const more = {
    stream: true,
    form: format === 'sse' ? ('sse' as const) : ('bytes' as const),
    maxOutput: slack * tokens,
  }
  return callOf(parts, own, { raw, body, model, measure, more })
}

/** Characters are code points, as they are priced. */
function sizeOf(text: string): { readonly characters: number; readonly tokens: number } {
  let characters = 0
  let tokens = 0
  for (const character of text) {
    characters++
    tokens += (character.codePointAt(0) ?? 0) > lastLetter ? tokensPerSign : tokensPerLetter
  }
  return { characters, tokens: Math.ceil(tokens) }
}
