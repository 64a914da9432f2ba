import { openStream, type Behaviour, type VendorCall } from './vendor.ts'

/** A stream of these payloads, and a proper end of the response after them. */
export function stream(payloads: readonly string[]): Behaviour {
  return (_, response) => {
    openStream(response)
    response.end(framed(payloads))
  }
}

/** A connection that breaks once these payloads are on their way: with none, before the head. */
export function breakAfter(payloads: readonly string[]): Behaviour {
  return (_, response) => {
    if (payloads.length === 0) return void response.destroy()
    openStream(response)
    response.write(framed(payloads), () => response.destroy())
  }
}

/** Another answer for each request, in order; the last one stays. */
export function inTurn(...behaviours: readonly Behaviour[]): Behaviour {
  let turn = 0
  return (call, response) => behaviours[Math.min(turn++, behaviours.length - 1)]?.(call, response)
}

/** A vendor that has said part of its answer and waits. */
export interface Held {
  readonly behaviour: Behaviour
  /** Resolves with the first call once its part of the answer was sent. */
  readonly reached: Promise<VendorCall>
  /** Sends the rest to every call, those that are still to come included. */
  release(): void
}

/** Streams `first`, waits for `release`, and then streams `rest` to its end. Without `first` not even the head is sent. */
export function held(first: readonly string[], rest: readonly string[] = []): Held {
  const reached = Promise.withResolvers<VendorCall>()
  const released = Promise.withResolvers<void>()
  return {
    reached: reached.promise,
    release: () => released.resolve(),
    async behaviour(call, response) {
      if (first.length === 0) reached.resolve(call)
      else {
        openStream(response)
        response.write(framed(first), () => reached.resolve(call))
      }
      await released.promise
      if (response.destroyed) return
      if (first.length === 0) openStream(response)
      response.end(framed(rest))
    },
  }
}

function framed(payloads: readonly string[]): string {
  return payloads.map((payload) => `data: ${payload}\n\n`).join('')
}
