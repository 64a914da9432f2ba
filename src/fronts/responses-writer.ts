import type { Call, JsonObject } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import { finishOf, isObject, objectsOf, stringOf } from '../core/wire.ts'
import type { Writer } from './front.ts'
import {
  annotationsOf,
  endOf,
  isContinued,
  logprobsOf,
  reasoningOf,
  responseOf,
  said,
  spokenOf,
  thoughtId,
  thoughtText,
  usageOf,
} from './responses-answer.ts'
import { createCallTellers, type CallTellers } from './responses-calls.ts'
import { cutEvent, eventOf, freshTelling, remember, type Telling } from './responses-events.ts'
import type { Output } from './responses-output.ts'
import {
  createMessageTeller,
  createThoughtTeller,
  type MessageTeller,
  type ThoughtTeller,
} from './responses-tellers.ts'

interface State {
  readonly call: Call
  readonly telling: Telling
  readonly output: Output
  readonly out: Uint8Array[]
  readonly items: Map<number, JsonObject>
  readonly calls: CallTellers
  message: MessageTeller | undefined
  thought: ThoughtTeller | undefined
  isBegun: boolean
  finish: string | undefined
  tier: string
}

/** Inner chunks as the events of a response: items one after the other, each with its parts. */
export function createWriter(call: Call): Writer {
  const state = stateOf(call)
  remember(call, state.telling)
  return {
    write(chunk) {
      begin(state)
      state.tier = stringOf(chunk['service_tier']) || state.tier
      // A caller of this dialect can only ask for one answer.
      const [choice] = objectsOf(chunk['choices'])
      if (choice) take(state, choice)
      return taken(state)
    },
    close(usage) {
      begin(state)
      endAll(state, 'completed')
      const end = endOf(state.finish)
      state.telling.isEnded = true
      const told = { ...end, ...(usage && { usage: usageOf(usage) }) }
      const response = { ...responseOf(call), ...outputOf(state), ...told }
      state.output.send(`response.${stringOf(end['status'])}`, { response })
      return taken(state)
    },
    cut() {
      begin(state)
      endAll(state, 'incomplete')
      state.out.push(cutEvent(state.telling, outputOf(state)))
      return taken(state)
    },
  }
}

function stateOf(call: Call): State {
  const telling = freshTelling(call)
  const out: Uint8Array[] = []
  const items = new Map<number, JsonObject>()
  let places = 0
  const output: Output = {
    call,
    place: () => places++,
    send: (type, fields) => void out.push(eventOf(telling, type, fields)),
    done(index, item) {
      items.set(index, item)
      output.send('response.output_item.done', { output_index: index, item })
    },
  }
  const none = { message: undefined, thought: undefined, finish: undefined, tier: '', isBegun: false }
  return { call, telling, output, out, items, calls: createCallTellers(output), ...none }
}

function taken({ out }: State): Uint8Array {
  return out.length === 0 ? new Uint8Array(0) : concat(out.splice(0))
}

function outputOf({ items, tier }: State): JsonObject {
  const output = [...items].toSorted(([a], [b]) => a - b).map(([, item]) => item)
  return { output, ...(tier !== '' && { service_tier: tier }) }
}

function begin(state: State): void {
  if (state.isBegun) return
  state.isBegun = true
  const response = responseOf(state.call)
  state.output.send('response.created', { response })
  state.output.send('response.in_progress', { response })
}

function take(state: State, choice: JsonObject): void {
  const delta = isObject(choice['delta']) ? choice['delta'] : {}
  think(state, delta)
  speak(state, choice, delta)
  const calls = objectsOf(delta['tool_calls'])
  if (calls.length > 0) endSpoken(state, 'completed')
  for (const piece of calls) state.calls.add(piece)
  const finish = finishOf(choice)
  if (finish === undefined) return
  state.finish = finish
  endAll(state, stringOf(endOf(finish)['status']))
}

function endSpoken(state: State, status: string): void {
  state.thought?.end()
  state.message?.end(status)
  state.thought = undefined
  state.message = undefined
}

function endAll(state: State, status: string): void {
  endSpoken(state, status)
  state.calls.end(status)
}

function think(state: State, delta: JsonObject): void {
  const details = objectsOf(delta['reasoning_details'])
  for (const piece of details) thinkPiece(state, piece)
  const shown = reasoningOf(delta)
  if (shown === '' || details.some((piece) => thoughtText(piece) !== '')) return
  if (!state.thought || state.thought.thought.detail) openThought(state, undefined)
  state.thought?.say(shown)
}

function thinkPiece(state: State, piece: JsonObject): void {
  const { thought: open } = state
  if (open && isContinued(open.thought, piece)) open.thought.detail = { ...open.thought.detail, ...said(piece) }
  else openThought(state, piece)
  state.thought?.say(thoughtText(piece))
}

function openThought(state: State, detail: JsonObject | undefined): void {
  endSpoken(state, 'completed')
  const index = state.output.place()
  const id = thoughtId(state.call, detail, index)
  state.thought = createThoughtTeller(state.output, { index, id, detail })
}

function speak(state: State, choice: JsonObject, delta: JsonObject): void {
  const [text, refusal] = [spokenOf(delta), stringOf(delta['refusal'])]
  const annotations = annotationsOf(delta)
  if (text === '' && refusal === '' && annotations.length === 0) return
  if (!state.message) {
    endSpoken(state, 'completed')
    state.message = createMessageTeller(state.output)
  }
  state.message.say(text, logprobsOf(choice))
  state.message.refuse(refusal)
  for (const annotation of annotations) state.message.cite(annotation)
}
