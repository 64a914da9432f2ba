import type { JsonObject } from '../core/call.ts'
import { type Nanos, printMoney } from '../core/money.ts'
import { fill, filledBytes, type Filling, type Mould, mouldOf, probeOf, type Shape } from '../core/shape.ts'
import { slabOf } from '../core/slab.ts'
import { usageBody } from '../core/usage.ts'
import { isObject, parseJson } from '../core/wire.ts'
import type { Passing, Writer } from '../fronts/front.ts'
import type { VendorUsage } from '../vendors/vendor.ts'
import type { Held, RelayStep } from './relay.ts'

/** How a vendor's steps are told to a caller: as elements of his stream. One without bytes says nothing. */
export interface Voice {
  steps(steps: readonly RelayStep[]): readonly Uint8Array[]
  /** What waited for the charge, and the end. */
  close(held: Held, cost: Nanos): readonly Uint8Array[]
  cut(): Uint8Array
}

/** The vendor's own bytes, for a caller who speaks its dialect. */
export function passingVoice(passing: Passing): Voice {
  const moulds = new Map<Shape, Mould | undefined>()
  // Not the method itself: as a callback of `map` it would be handed an index for a cost.
  const event = (step: RelayStep): Uint8Array => passing.event(step)
  const made = (step: RelayStep): Filling | Uint8Array => {
    const { event: own, piece } = step
    const { like } = piece
    const mould = like?.data === own.data ? mouldOfShape(passing, moulds, step) : undefined
    return mould && like ? { mould, data: own.data, places: like.places } : event(step)
  }
  return {
    steps: (steps) => (passing.isSteady ? [joined(steps.map(made))] : steps.map(event)),
    close({ usage, last }, cost) {
      const end = last ? passing.event(last, cost) : passing.end
      return usage ? [passing.event(usage, cost), end] : [end]
    },
    cut: () => passing.cut(),
  }
}

/** All in one piece: most chunks of a fast vendor have more than one event. */
function joined(parts: readonly (Filling | Uint8Array)[]): Uint8Array {
  let size = 0
  for (const part of parts) size += part instanceof Uint8Array ? part.length : filledBytes(part.mould, part.places)
  const bytes = slabOf(size)
  let at = 0
  for (const part of parts) {
    if (part instanceof Uint8Array) bytes.set(part, at)
    at = part instanceof Uint8Array ? at + part.length : fill(bytes, at, part)
  }
  return bytes
}

/** What becomes of the events of a shape: worked out with the first of them. */
function mouldOfShape(
  passing: Passing,
  moulds: Map<Shape, Mould | undefined>,
  { event, piece }: RelayStep,
): Mould | undefined {
  if (!piece.like) return undefined
  const { shape } = piece.like
  if (moulds.has(shape)) return moulds.get(shape)
  const probe = probeOf(shape)
  const made = passing.event({ event: { name: event.name, data: probe.data }, piece })
  const mould = mouldOf(made, probe.marks)
  moulds.set(shape, mould)
  return mould
}

/** What the vendor says in the inner language, written in the caller's dialect. */
export function writingVoice(writer: Writer): Voice {
  let usage: VendorUsage | undefined
  const write = (step: RelayStep): readonly Uint8Array[] => {
    usage = step.piece.usage ?? usage
    return chunksOf(step).map((chunk) => writer.write(chunk))
  }
  return {
    steps: (steps) => steps.flatMap(write),
    close(held, cost) {
      const before = [held.usage, held.last].flatMap((step) => (step ? write(step) : []))
      // A JSON number: what is charged stays exact in the books and in the header.
      const told = usage && { ...usageBody(usage.counts), cost: Number(printMoney(cost)) }
      return [...before, writer.close(told)]
    },
    cut: () => writer.cut(),
  }
}

/** What an event says in the inner language. */
export function chunksOf({ event, piece }: RelayStep): readonly JsonObject[] {
  if (piece.chunks) return piece.chunks
  const chunk = parseJson(event.data)
  return isObject(chunk) ? [chunk] : []
}
