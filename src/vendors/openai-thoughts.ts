import type { Json, JsonObject } from '../core/call.ts'
import { finishOf, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { createThinkSplitter, type Split, type ThinkSplitter } from './think-tags.ts'

/** Thoughts that a model writes into its text, told apart in inner chunks: a fresh one per stream. */
export interface Thoughts {
  chunk(chunk: JsonObject): JsonObject
}

/** `n` is at most 128; the texts of choices beyond this pass as they are. */
const maxChoices = 128

export function createThoughts(): Thoughts {
  const splitters = new Map<Json | undefined, ThinkSplitter>()
  return {
    chunk: (chunk) => ({
      ...chunk,
      choices: objectsOf(chunk['choices']).map((choice) => splitChoice(splitters, choice)),
    }),
  }
}

function splitChoice(splitters: Map<Json | undefined, ThinkSplitter>, choice: JsonObject): JsonObject {
  const { index, delta } = choice
  const splitter = splitters.get(index) ?? createThinkSplitter()
  if (!isObject(delta) || (!splitters.has(index) && splitters.size >= maxChoices)) return choice
  splitters.set(index, splitter)
  const said = splitter.push(stringOf(delta['content']))
  const rest = finishOf(choice) !== undefined || objectsOf(delta['tool_calls']).length > 0 ? splitter.end() : undefined
  return {
    ...choice,
    delta: withSplit(delta, { thought: said.thought + (rest?.thought ?? ''), text: said.text + (rest?.text ?? '') }),
  }
}

function withSplit(message: JsonObject, { thought, text }: Split): JsonObject {
  const { content, ...rest } = message
  const thoughts = stringOf(message['reasoning_content']) + thought
  // A content that says nothing stays as it is; one that was all thought, or is kept back, goes.
  const isIdle = content !== undefined && stringOf(content) === ''
  return {
    ...rest,
    ...(text !== '' ? { content: text } : isIdle ? { content } : {}),
    ...(thoughts !== '' && { reasoning_content: thoughts }),
  }
}

/** A whole answer in the inner language, likewise. */
export function thoughtsApart(body: JsonObject): JsonObject {
  const choices = objectsOf(body['choices']).map((choice) => {
    const { message } = choice
    const content = isObject(message) ? stringOf(message['content']) : ''
    if (!isObject(message) || content === '') return choice
    const splitter = createThinkSplitter()
    const [said, rest] = [splitter.push(content), splitter.end()]
    const split = { thought: said.thought + rest.thought, text: said.text + rest.text }
    if (split.thought === '') return choice
    const known = stringOf(message['reasoning_content'])
    return { ...choice, message: { ...message, content: split.text, reasoning_content: known + split.thought } }
  })
  return { ...body, choices }
}
