import type { Call, Json, JsonObject } from '../core/call.ts'
import { finishOf, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { groundingOf, maxCitations } from './generate-grounding.ts'
import { googleFormat, signatureOf } from './generate-signature.ts'
import { createToolCalls, type ToolCalls } from './tool-calls.ts'

/*
 * Answers of the inner language as Gemini's GenerateContentResponse, whole or in the events of a stream. A call to a
 * function is told whole there, and how the answer ended comes with the usage, so both wait for the end.
 */

/** More choices than any vendor gives are not told apart. */
const maxChoices = 128
const encoder = new TextEncoder()

/** What is remembered of one choice until its end. */
interface Choice {
  readonly calls: ToolCalls
  /** Signatures of calls, by the id of the call. */
  readonly signatures: Map<string, string>
  /** Thoughts that the caller does not want to see, by index, until their signature comes. */
  readonly hidden: Map<Json | undefined, string>
  readonly annotations: JsonObject[]
  text: string
  finish: string | undefined
  /** How it ended in Google's own word, where the vendor is Google. */
  native: string
}

/** One answer on its way into Gemini's words. */
export interface GenerateAnswer {
  /** What a chunk says, as an event; undefined where it says nothing before the end. */
  add(chunk: JsonObject): JsonObject | undefined
  /** The last event. `usage` is the inner usage object. */
  end(usage: JsonObject | undefined): JsonObject
  /** The last event of an answer whose money ran out: its open calls are not whole and are left out. */
  cut(): JsonObject
}

export function createAnswer(call: Call): GenerateAnswer {
  const choices = new Map<number, Choice>()
  const showsThoughts = wantsThoughts(call)
  return {
    add(chunk) {
      const candidates = objectsOf(chunk['choices']).flatMap((part, position) => {
        const index = typeof part['index'] === 'number' ? part['index'] : position
        const choice = choiceAt(choices, index)
        if (!choice) return []
        const delta = isObject(part['delta']) ? part['delta'] : isObject(part['message']) ? part['message'] : {}
        const parts = addDelta(choice, delta, showsThoughts)
        choice.finish = finishOf(part) ?? choice.finish
        choice.native = stringOf(part['native_finish_reason']) || choice.native
        const logprobsResult = logprobsOf(part['logprobs'])
        if (parts.length === 0 && !logprobsResult) return []
        return [{ content: { role: 'model', parts }, index, ...(logprobsResult && { logprobsResult }) }]
      })
      return candidates.length === 0 ? undefined : event(call, { candidates })
    },
    end(usage) {
      if (choices.size === 0) choiceAt(choices, 0)
      const candidates = [...choices].map(([index, choice]) => ended(index, choice))
      return event(call, { candidates, ...(usage && { usageMetadata: usageMetadata(usage) }) })
    },
    cut() {
      const indexes = choices.size === 0 ? [0] : choices.keys()
      const candidates = [...indexes].map((index) => bare(index, 'MAX_TOKENS'))
      return event(call, { candidates })
    },
  }
}

/** A whole answer: what was said and how it ended, in one candidate for each choice. */
export function wholeAnswer(call: Call, inner: JsonObject): JsonObject {
  const answer = createAnswer(call)
  const said = objectsOf(answer.add(inner)?.['candidates'])
  const { usage } = inner
  const end = answer.end(isObject(usage) ? usage : undefined)
  const candidates = objectsOf(end['candidates']).map((last) => {
    const first = said.find(({ index }) => index === last['index'])
    return { ...first, ...last, content: { role: 'model', parts: [...partsOf(first), ...partsOf(last)] } }
  })
  return { ...end, candidates }
}

function partsOf(candidate: JsonObject | undefined): readonly JsonObject[] {
  const content = candidate?.['content']
  return isObject(content) ? objectsOf(content['parts']) : []
}

/** An event, or a whole answer. */
function event({ model, id }: Call, said: JsonObject): JsonObject {
  return { ...said, modelVersion: model, responseId: id }
}

/** A candidate that only says how it ended. */
export function bare(index: number, finishReason: string): JsonObject {
  return { content: { role: 'model', parts: [] }, finishReason, index }
}

/** Thoughts are told to those alone who ask for them, as Google does. */
function wantsThoughts({ inner }: Call): boolean {
  const { reasoning } = inner
  return isObject(reasoning) && reasoning['exclude'] === false
}

function choiceAt(choices: Map<number, Choice>, index: number): Choice | undefined {
  const known = choices.get(index)
  if (known || choices.size >= maxChoices) return known
  const fresh: Choice = {
    calls: createToolCalls(),
    signatures: new Map(),
    hidden: new Map(),
    annotations: [],
    text: '',
    finish: undefined,
    native: '',
  }
  choices.set(index, fresh)
  return fresh
}

/** What a delta says at once, in parts. */
function addDelta(choice: Choice, delta: JsonObject, showsThoughts: boolean): readonly JsonObject[] {
  const details = objectsOf(delta['reasoning_details'])
  const isDetailed = details.some(({ text, summary }) => stringOf(text) !== '' || stringOf(summary) !== '')
  const thought = stringOf(delta['reasoning_content']) || stringOf(delta['reasoning'])
  const parts: JsonObject[] = []
  if (showsThoughts && thought !== '' && !isDetailed) parts.push({ text: thought, thought: true })
  const signed: JsonObject[] = []
  for (const item of details) addDetail({ choice, parts, signed }, item, showsThoughts)
  const text = contentText(delta['content']) + stringOf(delta['refusal'])
  if (text !== '') parts.push({ text })
  choice.text += text
  parts.push(...signed, ...imagesOf(delta['images']))
  for (const called of objectsOf(delta['tool_calls'])) choice.calls.add(called)
  choice.annotations.push(...objectsOf(delta['annotations']).slice(0, maxCitations - choice.annotations.length))
  return parts
}

function contentText(content: Json | undefined): string {
  if (typeof content === 'string') return content
  return objectsOf(content)
    .map((part) => stringOf(part['text']))
    .join('')
}

interface Adding {
  readonly choice: Choice
  readonly parts: JsonObject[]
  /** What must stand behind the text. */
  readonly signed: JsonObject[]
}

/** An item of reasoning: seen or not, what its vendor wants back must reach the caller. */
function addDetail({ choice, parts, signed }: Adding, item: JsonObject, showsThoughts: boolean): void {
  const { type, index, format, id } = item
  const text = stringOf(item['text']) || stringOf(item['summary'])
  if (type === 'reasoning.encrypted' && typeof id === 'string' && (format === googleFormat || isCall(choice, id))) {
    choice.signatures.set(id, signatureOf(item))
    return
  }
  if (type === 'reasoning.encrypted') {
    const part = { text: '', thoughtSignature: signatureOf(item) }
    if (format === googleFormat) signed.push(part)
    else parts.push({ ...part, thought: true })
    return
  }
  if (typeof item['signature'] !== 'string' || item['signature'] === '') {
    if (showsThoughts) return void (text !== '' && parts.push({ text, thought: true }))
    choice.hidden.set(index, (choice.hidden.get(index) ?? '') + text)
    return
  }
  const whole = (choice.hidden.get(index) ?? '') + text
  choice.hidden.delete(index)
  parts.push(signedThought(item, showsThoughts ? undefined : whole))
}

/** A thought with its signature; one that is not shown travels inside of the signature. */
function signedThought({ text, ...item }: JsonObject, hidden: string | undefined): JsonObject {
  const shown = hidden === undefined ? stringOf(text) : ''
  const thoughtSignature = signatureOf(hidden === undefined ? item : { ...item, text: hidden })
  return { text: shown, thought: true, thoughtSignature }
}

function isCall({ calls }: Choice, id: string): boolean {
  return calls.list().some((called) => called['id'] === id)
}

function imagesOf(images: Json | undefined): readonly JsonObject[] {
  return objectsOf(images).flatMap(({ image_url: image }) => {
    const url = isObject(image) ? stringOf(image['url']) : ''
    const comma = url.indexOf(';base64,')
    if (!url.startsWith('data:') || comma < 0) return []
    return [{ inlineData: { mimeType: url.slice('data:'.length, comma), data: url.slice(comma + ';base64,'.length) } }]
  })
}

/** The end of a choice, with its calls, which are whole now. */
function ended(index: number, choice: Choice): JsonObject {
  const parts = choice.calls.list().map((called) => callPart(choice, called))
  const groundingMetadata = groundingOf(choice.annotations, choice.text)
  return {
    content: { role: 'model', parts },
    finishReason: finishWord(choice),
    index,
    ...(groundingMetadata && { groundingMetadata }),
  }
}

function callPart({ signatures }: Choice, called: JsonObject): JsonObject {
  const { function: named, custom } = called
  const id = stringOf(called['id'])
  const thoughtSignature = signatures.get(id)
  const name = isObject(named) ? named['name'] : isObject(custom) ? custom['name'] : ''
  const args = isObject(named) ? argumentsObject(stringOf(named['arguments'])) : customInput(custom)
  const functionCall = { ...(id !== '' && { id }), name: stringOf(name), args }
  return { functionCall, ...(thoughtSignature && { thoughtSignature }) }
}

/** Arguments as the object that they are in Gemini's words; what is none is wrapped. */
function argumentsObject(text: string): JsonObject {
  const value = parseJson(encoder.encode(text))
  if (isObject(value)) return value
  return text.trim() === '' ? {} : { arguments: value ?? text }
}

function customInput(custom: Json | undefined): JsonObject {
  return isObject(custom) ? { input: stringOf(custom['input']) } : {}
}

const finishes: Readonly<Record<string, string>> = {
  stop: 'STOP',
  tool_calls: 'STOP',
  function_call: 'STOP',
  length: 'MAX_TOKENS',
  content_filter: 'SAFETY',
}

function finishWord({ finish = 'stop', native }: Choice): string {
  const word = finishes[finish] ?? 'OTHER'
  // Google tells many filters apart.
  return word === 'SAFETY' && /^[A-Z_]{1,64}$/.test(native) ? native : word
}

function whole(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0
}

/** Inner usage in Google's names: thoughts lie outside of the candidates' count there. */
function usageMetadata(usage: JsonObject): JsonObject {
  const { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total, cost } = usage
  const { prompt_tokens_details: read, completion_tokens_details: written } = usage
  const cached = isObject(read) ? whole(read['cached_tokens']) : 0
  const thoughts = isObject(written) ? whole(written['reasoning_tokens']) : 0
  return {
    promptTokenCount: whole(prompt),
    candidatesTokenCount: Math.max(0, whole(completion) - thoughts),
    ...(thoughts > 0 && { thoughtsTokenCount: thoughts }),
    ...(cached > 0 && { cachedContentTokenCount: cached }),
    totalTokenCount: whole(total),
    ...(cost !== undefined && { cost }),
  }
}

function logprobsOf(logprobs: Json | undefined): JsonObject | undefined {
  const content = isObject(logprobs) ? objectsOf(logprobs['content']) : []
  if (content.length === 0) return undefined
  return {
    chosenCandidates: content.map(tokenOf),
    topCandidates: content.map((token) => ({ candidates: objectsOf(token['top_logprobs']).map(tokenOf) })),
  }
}

function tokenOf({ token, logprob }: JsonObject): JsonObject {
  return { token: stringOf(token), logProbability: typeof logprob === 'number' ? logprob : 0 }
}
