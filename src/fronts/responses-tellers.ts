import type { JsonObject } from '../core/call.ts'
import { itemId, messageItem, refusalPart, textPart, type Thought, thoughtItem } from './responses-answer.ts'
import type { Output } from './responses-output.ts'

/** Tells one item of reasoning, as a summary: it is the form that every client shows. */
export interface ThoughtTeller {
  readonly thought: Thought
  say(text: string): void
  end(): void
}

export interface ThoughtPlace {
  readonly index: number
  readonly id: string
  readonly detail: JsonObject | undefined
}

export function createThoughtTeller(output: Output, { index, id, detail }: ThoughtPlace): ThoughtTeller {
  const thought: Thought = { text: '', detail }
  const pieces: string[] = []
  const at = { item_id: id, output_index: index, summary_index: 0 }
  output.send('response.output_item.added', {
    output_index: index,
    item: { id, type: 'reasoning', summary: [], status: 'in_progress' },
  })
  return {
    thought,
    say(text) {
      if (text === '') return
      if (pieces.length === 0)
        output.send('response.reasoning_summary_part.added', { ...at, part: { type: 'summary_text', text: '' } })
      pieces.push(text)
      output.send('response.reasoning_summary_text.delta', { ...at, delta: text })
    },
    end() {
      thought.text = pieces.join('')
      if (pieces.length > 0) {
        const { text } = thought
        output.send('response.reasoning_summary_text.done', { ...at, text })
        output.send('response.reasoning_summary_part.done', { ...at, part: { type: 'summary_text', text } })
      }
      output.done(index, thoughtItem(id, thought))
    },
  }
}

/** Tells one message: a part of text, a part of refusal, or both. */
export interface MessageTeller {
  say(text: string, logprobs: readonly JsonObject[]): void
  refuse(refusal: string): void
  cite(annotation: JsonObject): void
  end(status: string): void
}

/** A part that is being told. */
interface Part {
  readonly kind: 'text' | 'refusal'
  readonly pieces: string[]
  readonly annotations: JsonObject[]
  readonly logprobs: JsonObject[]
}

/** Annotations and probabilities of one message; more are not told. */
const maxNotes = 100_000

export function createMessageTeller(output: Output): MessageTeller {
  const index = output.place()
  const id = itemId(output.call, 'msg', index)
  const done: JsonObject[] = []
  let part: Part | undefined
  const at = () => ({ item_id: id, output_index: index, content_index: done.length })

  function open(kind: Part['kind']): Part {
    if (part?.kind === kind) return part
    endPart()
    part = { kind, pieces: [], annotations: [], logprobs: [] }
    output.send('response.content_part.added', { ...at(), part: partOf(part) })
    return part
  }
  function endPart(): void {
    if (!part) return
    const whole = partOf(part)
    const text = part.pieces.join('')
    if (part.kind === 'refusal') output.send('response.refusal.done', { ...at(), refusal: text })
    else output.send('response.output_text.done', { ...at(), text, logprobs: part.logprobs })
    output.send('response.content_part.done', { ...at(), part: whole })
    done.push(whole)
    part = undefined
  }

  output.send('response.output_item.added', { output_index: index, item: messageItem(id, [], 'in_progress') })
  return {
    say(text, logprobs) {
      if (text === '') return
      const { pieces, logprobs: known } = open('text')
      pieces.push(text)
      if (known.length < maxNotes) known.push(...logprobs)
      output.send('response.output_text.delta', { ...at(), delta: text, logprobs })
    },
    refuse(refusal) {
      if (refusal === '') return
      open('refusal').pieces.push(refusal)
      output.send('response.refusal.delta', { ...at(), delta: refusal })
    },
    cite(annotation) {
      const { annotations } = open('text')
      if (annotations.length >= maxNotes) return
      const place = { ...at(), annotation_index: annotations.length }
      annotations.push(annotation)
      output.send('response.output_text.annotation.added', { ...place, annotation })
    },
    end(status) {
      endPart()
      output.done(index, messageItem(id, done, status))
    },
  }
}

function partOf({ kind, pieces, annotations, logprobs }: Part): JsonObject {
  const text = pieces.join('')
  return kind === 'refusal'
    ? refusalPart(text)
    : textPart({ text, annotations: [...annotations], logprobs: [...logprobs] })
}
