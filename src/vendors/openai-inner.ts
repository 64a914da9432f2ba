import type { Json, JsonObject } from '../core/call.ts'
import { finishOf, isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'

/*
 * The inner language for vendors whose wire it almost is: what other dialects have brought into it and OpenAI's API
 * does not know is said in its words, or left out.
 */

/** How much thinking a caller wants, in the words of the inner language. */
export interface ReasoningWish {
  readonly effort?: string
  /** At most this many tokens; 0 is none. */
  readonly maxTokens?: number
}

/** What a vendor takes of the inner language beyond OpenAI's own API. */
export interface InnerTraits {
  /** Where it differs from `openaiParameters`. */
  readonly parameters?: ParameterTable
  /** Its name for the bound on output; OpenAI's newer models know only the longer one, most others only the shorter. */
  readonly outputLimit?: 'max_completion_tokens'
  /** How it is told to think; undefined where this model cannot be told so. Absent: it cannot. */
  reasoning?(wish: ReasoningWish, model: string): JsonObject | undefined
  /** Members of an assistant's message that it wants back in the next turn. */
  readonly takesBack?: readonly ('reasoning_content' | 'reasoning_details')[]
  /** It reads marks of what to cache. */
  readonly marksCache?: true
}

/** What OpenAI's chat completions take. A name that is missing here is no parameter of theirs. */
export const openaiParameters: ParameterTable = {
  max_tokens: 'pass',
  max_completion_tokens: 'pass',
  temperature: 'pass',
  top_p: 'pass',
  top_k: 'drop',
  stop: 'pass',
  n: 'pass',
  seed: 'pass',
  frequency_penalty: 'pass',
  presence_penalty: 'pass',
  logit_bias: 'pass',
  logprobs: 'pass',
  top_logprobs: 'pass',
  tools: 'pass',
  tool_choice: 'pass',
  parallel_tool_calls: 'pass',
  response_format: 'pass',
  reasoning_effort: 'translate',
  reasoning: 'translate',
  service_tier: 'pass',
  prediction: 'pass',
  modalities: 'pass',
  audio: 'pass',
  web_search_options: 'pass',
  verbosity: 'pass',
  store: 'pass',
  metadata: 'pass',
  user: 'pass',
}

export interface ChatBody {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

/** A request of the inner language as this vendor takes it. Throws `invalid_value` for what it cannot be told. */
export function chatBody(traits: InnerTraits, inner: JsonObject, model: string): ChatBody {
  const table = { ...openaiParameters, ...traits.parameters }
  const dropped = new Set(checkParameters(inner, table))
  const kept = Object.entries(inner).filter(([name]) => !dropped.has(name) && !translated.has(name))
  const thinking = reasoningOf(traits, inner, model)
  if (!thinking) for (const name of ['reasoning_effort', 'reasoning']) if (isSaid(inner[name])) dropped.add(name)
  const messages = objectsOf(inner['messages']).map(messagesOf(traits))
  const body = {
    ...Object.fromEntries(kept),
    messages: withImagesAfter(messages),
    ...limitOf(traits, inner),
    ...toolsOf(traits, inner),
    ...thinking,
  }
  return { body, dropped: [...dropped] }
}

const translated: ReadonlySet<string> = new Set([
  'messages',
  'max_tokens',
  'max_completion_tokens',
  'tools',
  'reasoning_effort',
  'reasoning',
])

function isSaid(value: Json | undefined): boolean {
  return value !== undefined && value !== null
}

function limitOf({ outputLimit }: InnerTraits, inner: JsonObject): JsonObject {
  const limit = inner['max_completion_tokens'] ?? inner['max_tokens']
  return isSaid(limit) ? { [outputLimit ?? 'max_tokens']: limit } : {}
}

function toolsOf({ marksCache }: InnerTraits, inner: JsonObject): JsonObject {
  const tools = objectsOf(inner['tools'])
  if (tools.length === 0) return {}
  // Tools that a vendor runs itself are its own: without them the answer would not be the one asked for.
  const odd = tools.findIndex(({ type }) => type !== 'function' && type !== 'custom')
  if (odd >= 0) throw cannot(`tools[${odd}].type`, 'tools of this type')
  return { tools: marksCache ? tools : tools.map(withoutMark) }
}

function withoutMark({ cache_control: _, ...rest }: JsonObject): JsonObject {
  return rest
}

/** What the request says of thinking, in the vendor's words; nothing where it says nothing, undefined where it cannot. */
function reasoningOf(traits: InnerTraits, inner: JsonObject, model: string): JsonObject | undefined {
  const { reasoning, reasoning_effort: effort } = inner
  const more = isObject(reasoning) ? reasoning : {}
  const wanted = effort ?? more['effort']
  const maxTokens = more['max_tokens']
  const wish = {
    ...(typeof wanted === 'string' && { effort: wanted }),
    ...(typeof maxTokens === 'number' && { maxTokens }),
  }
  return Object.keys(wish).length === 0 ? {} : traits.reasoning?.(wish, model)
}

/** Budgets of tokens as efforts, about as the vendors that have both explain them. */
const lowBudget = 2_048
const mediumBudget = 12_288

/** The effort that a wish asks for. */
export function effortOf({ effort, maxTokens }: ReasoningWish): string {
  if (effort !== undefined) return effort
  if (maxTokens === undefined || maxTokens < 0) return 'medium'
  if (maxTokens === 0) return 'none'
  return maxTokens <= lowBudget ? 'low' : maxTokens <= mediumBudget ? 'medium' : 'high'
}

/** Members that OpenAI's messages have, whatever the role. */
const messageMembers = ['role', 'name', 'content', 'refusal', 'audio', 'tool_calls', 'function_call', 'tool_call_id']

function messagesOf(traits: InnerTraits) {
  const members = [...messageMembers, ...(traits.takesBack ?? [])]
  return (message: JsonObject, index: number): JsonObject => {
    const kept: Record<string, Json> = {}
    for (const name of members) {
      const value = message[name]
      if (value !== undefined) kept[name] = value
    }
    const content = message['content']
    if (isList(content)) kept['content'] = objectsOf(content).map((part, at) => partOf(traits, part, [index, at]))
    return kept
  }
}

function partOf({ marksCache }: InnerTraits, part: JsonObject, [index, at]: readonly [number, number]): JsonObject {
  const { file } = part
  if (isObject(file) && file['file_url'] !== undefined)
    throw cannot(`messages[${index}].content[${at}]`, 'files by their address')
  return marksCache ? part : withoutMark(part)
}

/**
 * Tool results are text and nothing else there. What they show besides comes in a message of the caller's after them:
 * between them it would part the results from their calls.
 */
function withImagesAfter(messages: readonly JsonObject[]): readonly JsonObject[] {
  const ordered: JsonObject[] = []
  let shown: JsonObject[] = []
  const show = (): void => {
    if (shown.length > 0) ordered.push({ role: 'user', content: shown })
    shown = []
  }
  for (const message of messages) {
    const { role, content } = message
    if (role !== 'tool') show()
    if (role !== 'tool' || !isList(content)) {
      ordered.push(message)
      continue
    }
    const parts = objectsOf(content)
    const texts = parts.filter(({ type }) => type === 'text')
    shown.push(...parts.filter(({ type }) => type !== 'text'))
    ordered.push({ ...message, content: texts.length === 0 ? '(see the next message)' : texts })
  }
  show()
  return ordered
}

/** A chunk of such a vendor in the inner language: thinking under one name, text as a string, no reason that is none. */
export function innerChunk(chunk: JsonObject): JsonObject {
  return { ...chunk, choices: objectsOf(chunk['choices']).map((choice) => innerChoice(choice, 'delta')) }
}

/** A whole answer, likewise. */
export function innerBody(body: JsonObject): JsonObject {
  return { ...body, choices: objectsOf(body['choices']).map((choice) => innerChoice(choice, 'message')) }
}

function innerChoice({ delta, message, ...choice }: JsonObject, member: 'delta' | 'message'): JsonObject {
  // A vendor that sends both means the one that belongs there.
  const said = member === 'delta' ? delta : message
  const finish = finishOf(choice) ?? null
  return { ...choice, ...(isObject(said) && { [member]: plainMessage(said) }), finish_reason: finish }
}

/** A message or a delta whose thoughts stand under one name and whose content is a text. */
export function plainMessage(message: JsonObject): JsonObject {
  const { reasoning, reasoning_content: known, content, ...rest } = message
  const thought = stringOf(known) || stringOf(reasoning) || thoughtIn(content)
  return {
    ...rest,
    ...(content !== undefined && { content: isList(content) ? textIn(content) : content }),
    ...(thought !== '' && { reasoning_content: thought }),
  }
}

function textIn(content: readonly Json[]): string {
  return objectsOf(content)
    .map(({ text }) => stringOf(text))
    .join('')
}

/** Some vendors put thinking into parts of the content. */
function thoughtIn(content: Json | undefined): string {
  return objectsOf(content)
    .map(({ thinking }) => (isList(thinking) ? textIn(thinking) : stringOf(thinking)))
    .join('')
}
