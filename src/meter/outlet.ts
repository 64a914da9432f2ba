import type { Call } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import type { Front } from '../fronts/front.ts'
import type { Client } from '../ports.ts'
import type { Outlet, RelayStep } from './relay.ts'
import type { Voice } from './voice.ts'

const encoder = new TextEncoder()
const contentTypes = {
  sse: 'text/event-stream; charset=utf-8',
  array: 'application/json; charset=utf-8',
  bytes: 'application/octet-stream',
} as const

/** What nobody on the way may keep, pack or hold back. */
export function streamHeaders({ form = 'sse' }: Call): Readonly<Record<string, string>> {
  return {
    'content-type': contentTypes[form],
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  }
}

export interface StreamOutletOptions {
  readonly client: Client
  readonly front: Front
  readonly call: Call
  /** How events are told to this caller. */
  readonly voice: Voice
  readonly headers: () => Readonly<Record<string, string>>
}

/** Sends events to a caller as they come. The status line goes out with the first of them. */
export function streamOutlet({ client, front, call, voice, headers }: StreamOutletOptions): Outlet {
  const { form = 'sse' } = call
  const framing = form === 'array' ? arrayFraming() : events
  let isOpen = false

  function open(): void {
    if (isOpen) return
    isOpen = true
    client.open(200, { ...streamHeaders(call), ...headers() })
  }
  /** While nothing has been sent, a status can still tell, and SDKs go by it. */
  function refuse(error: GatewayError): void {
    const failure = front.failure(error, call.id)
    const bytes = encoder.encode(JSON.stringify(failure.body))
    const length = { 'content-type': 'application/json', 'content-length': String(bytes.length) }
    client.open(failure.status, { ...headers(), ...length, ...failure.headers })
    client.end(bytes)
  }

  return {
    live: true,
    write(steps) {
      // Before the status goes out: an event that cannot be edited must not leave half an answer behind.
      const bytes = framing.join(voice.steps(steps))
      open()
      return bytes.length === 0 || client.write(bytes)
    },
    close(held, cost) {
      const bytes = framing.end(voice.close(held, cost))
      open()
      client.end(bytes)
    },
    fail(error) {
      // Bytes have no words for it, and an end would make them look whole.
      if (isOpen && form === 'bytes') client.destroy()
      else if (isOpen || client.isEarly?.()) client.end(framing.end([front.failureEvent(error, call)]))
      else refuse(error)
    },
    cut(error) {
      if (form === 'bytes') return client.destroy()
      open()
      client.end(framing.end([voice.cut(), front.failureEvent(error, call)]))
    },
    destroy: () => client.destroy(),
  }
}

/** How the elements of a stream become its bytes. */
interface Framing {
  join(elements: readonly Uint8Array[]): Uint8Array
  /** The last of them, and what comes after them. */
  end(elements: readonly Uint8Array[]): Uint8Array
}

const events: Framing = { join: concat, end: concat }

const [opening, separator, closing] = ['[', ',\r\n', ']'].map((text) => encoder.encode(text)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

/** One JSON array, element by element. */
function arrayFraming(): Framing {
  let isBegun = false
  function join(elements: readonly Uint8Array[]): Uint8Array {
    const parts: Uint8Array[] = []
    for (const element of elements) {
      if (element.length === 0) continue
      parts.push(isBegun ? separator : opening, element)
      isBegun = true
    }
    return concat(parts)
  }
  return {
    join,
    end(elements) {
      const bytes = join(elements)
      return isBegun ? concat([bytes, closing]) : concat([opening, closing])
    },
  }
}

/** Makes one body of steps, for a caller who wants one. */
export interface Collector {
  add(step: RelayStep): void
}

/** What a gathered answer became. */
export interface Gathered {
  complete(cost: Nanos): void
  fail(error: GatewayError): void
  cut(cost: Nanos): void
}

/** Gathers events for a caller who wants one body; nothing reaches him before the end. */
export function gatherOutlet(collector: Collector, result: Gathered, destroy: () => void): Outlet {
  return {
    live: false,
    write(steps) {
      for (const step of steps) collector.add(step)
      return true
    },
    close({ usage, last }, cost) {
      if (usage) collector.add(usage)
      if (last) collector.add(last)
      result.complete(cost)
    },
    fail: result.fail,
    cut: (_, cost) => result.cut(cost),
    destroy,
  }
}
