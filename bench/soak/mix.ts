import { bodyOf, brokenAfter } from '../contest/wire.ts'
import { tokenPrice } from '../contest/tollgate.ts'

/** One kind of call of the soak. */
export interface Kind {
  readonly name: string
  /** Of a hundred calls. */
  readonly share: number
  readonly model: string
  readonly body: string
  readonly isStream: boolean
  /** The caller hangs up when he has heard so many events of text. */
  readonly hangsUpAfter?: number
  /** The vendor may break off or refuse. */
  readonly mayFail?: true
}

const kb = 1_024
const stalledEvents = 8

interface Given extends Omit<Kind, 'body' | 'isStream'> {
  readonly promptBytes: number
  readonly events: number
}

function kindOf({ promptBytes, events, ...given }: Given): Kind {
  return { ...given, isStream: events > 0, body: bodyOf({ model: given.model, promptBytes, events }) }
}

/** Of a hundred calls 5 are hung up on, the vendor breaks off 2 and refuses 1; the shares come to a hundred. */
export const kinds: readonly Kind[] = [
  kindOf({ name: 'JSON 1 KB', share: 50, model: 'json-1024', promptBytes: kb, events: 0 }),
  kindOf({ name: 'long prompt', share: 3, model: 'json-1024', promptBytes: 64 * kb, events: 0 }),
  kindOf({ name: 'fast stream', share: 20, model: 'stream-50-0', promptBytes: kb, events: 50 }),
  kindOf({ name: 'paced stream', share: 13, model: 'stream-50-20000', promptBytes: kb, events: 50 }),
  kindOf({ name: 'flaky stream', share: 6, model: 'flaky-50-3', promptBytes: kb, events: 50, mayFail: true }),
  kindOf({ name: 'failing vendor', share: 3, model: 'fail-500-3', promptBytes: kb, events: 0, mayFail: true }),
  kindOf({
    name: 'hung up',
    share: 5,
    model: `stall-${stalledEvents}`,
    promptBytes: kb,
    events: stalledEvents,
    hangsUpAfter: stalledEvents,
  }),
]

/** Every model that the soak asks for. */
export const soakModels = [...new Set(kinds.map(({ model }) => model))]

/** How one call went, as its caller saw it. */
export type Ending =
  | { readonly kind: 'whole'; readonly inputTokens: number; readonly outputTokens: number }
  /** Without the vendor's count: events of text that were heard. */
  | { readonly kind: 'partial'; readonly events: number }
  | { readonly kind: 'refused'; readonly status: number }
  | { readonly kind: 'broken'; readonly why: string }

/** What calls have come to. */
export interface Tally {
  whole: number
  partial: number
  refused: number
  /** Answers that should not be: each is a fault. */
  broken: number
  inputTokens: bigint
  outputTokens: bigint
}

export function newTally(): Tally {
  return { whole: 0, partial: 0, refused: 0, broken: 0, inputTokens: 0n, outputTokens: 0n }
}

/** Adds one call; `promptTokens` is what the gateway counts for a prompt that no vendor has counted. */
export function count(tally: Tally, ending: Ending, promptTokens: number): void {
  tally[ending.kind]++
  if (ending.kind === 'whole') {
    tally.inputTokens += BigInt(ending.inputTokens)
    tally.outputTokens += BigInt(ending.outputTokens)
  } else if (ending.kind === 'partial') {
    tally.inputTokens += BigInt(promptTokens)
    // Each event of text is one token.
    tally.outputTokens += BigInt(ending.events)
  }
}

/** What must have been charged, in nano-units. */
export function chargeOf({ inputTokens, outputTokens }: Pick<Tally, 'inputTokens' | 'outputTokens'>): bigint {
  return inputTokens * tokenPrice.input + outputTokens * tokenPrice.output
}

/** The order of a hundred calls: each kind as often as its share says, spread evenly. */
export function cycle(): readonly Kind[] {
  const slots = kinds.flatMap((kind) =>
    Array.from({ length: kind.share }, (_, at) => ({ kind, at: (at + 0.5) / kind.share })),
  )
  return slots.toSorted((a, b) => a.at - b.at).map(({ kind }) => kind)
}

const wholeUsage = /"prompt_tokens":(\d{1,9}),"completion_tokens":(\d{1,9})/
const textEvent = /"content":" token"/g

export interface Answered {
  readonly status: number
  /** The body as far as it came; of long ones the end. */
  readonly text: string
}

/** How a call went whose answer has ended, or that its caller has left. */
export function endingOf(kind: Kind, { status, text }: Answered): Ending {
  if (status >= 400) return kind.mayFail ? { kind: 'refused', status } : { kind: 'broken', why: `${status} ${text}` }
  const events = text.match(textEvent)?.length ?? 0
  if (kind.hangsUpAfter !== undefined)
    return events === kind.hangsUpAfter ? { kind: 'partial', events } : { kind: 'broken', why: `${events} events` }
  const usage = wholeUsage.exec(text)
  if (usage && (!kind.isStream || text.includes('data: [DONE]')))
    return { kind: 'whole', inputTokens: Number(usage[1]), outputTokens: Number(usage[2]) }
  return kind.mayFail && kind.isStream && events === brokenAfter
    ? { kind: 'partial', events }
    : { kind: 'broken', why: `${status} ${text.slice(-300)}` }
}
