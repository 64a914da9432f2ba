import { audioSeconds } from '../core/audio-length.ts'
import type { Call } from '../core/call.ts'
import { wrong } from './body.ts'
import { promptOf, readFlag, readModel } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { fieldsOf, filesIn, readForm } from './multipart.ts'
import { callOf, operationFront } from './operation.ts'

/** OpenAI counts a token for each tenth of a second; others a little more. */
const tokensPerSecond = 10
const mostTokensPerSecond = 13
/** Nobody speaks faster. */
const mostTextTokensPerSecond = 12
const leastTextTokens = 256

const fields = { numbers: ['temperature'], flags: ['stream'] }
const transcribed = { dialect: 'transcriptions', operation: 'transcription' } as const
const translated = { dialect: 'translations', operation: 'transcription' } as const

/** What is said in a recording: https://platform.openai.com/docs/api-reference/audio/createTranscription. */
export const transcriptions: Front = operationFront({
  ...transcribed,
  paths: ['/v1/audio/transcriptions'],
  unpack: readForm,
  read: (raw, parts) => read(raw, parts, transcribed),
})

/** The same in English. */
export const translations: Front = operationFront({
  ...translated,
  paths: ['/v1/audio/translations'],
  unpack: readForm,
  read: (raw, parts) => read(raw, parts, translated),
})

function read(raw: Uint8Array, parts: RequestParts, own: typeof transcribed | typeof translated): Call {
  const { form } = parts
  if (!form) throw wrong('file', 'Send the recording as a file in "file" of a multipart/form-data body.')
  const body = fieldsOf(form, fields)
  const model = readModel(body)
  const [file, ...others] = filesIn(form, 'file')
  if (!file || others.length > 0) throw wrong('file', 'Send one recording as a file in "file".')
  if (file.bytes.length === 0) throw wrong('file', '"file" is empty.')
  const { seconds } = audioSeconds(file.bytes)
  const prompt = typeof body['prompt'] === 'string' ? body['prompt'] : ''
  const measure = {
    prompt: promptOf([prompt], { fixedTokens: seconds * mostTokensPerSecond }),
    most: { second: seconds },
    own: { second: seconds, audio_input: seconds * tokensPerSecond },
    audio: true,
  }
  const more = {
    parts: form,
    stream: readFlag(body, 'stream') ?? false,
    maxOutput: leastTextTokens + seconds * mostTextTokensPerSecond,
  }
  return callOf(parts, own, { raw, body, model, measure, more })
}
