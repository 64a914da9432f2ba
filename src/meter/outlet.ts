import type { Call } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import type { GatewayError } from '../core/errors.ts'
import { removeMembers, replaceValue } from '../core/json-bytes.ts'
import { frame, type ServerEvent } from '../core/sse.ts'
import type { Front } from '../fronts/front.ts'
import type { Client } from '../ports.ts'
import type { Outlet, RelayStep } from './relay.ts'

const encoder = new TextEncoder()
const done = encoder.encode('data: [DONE]\n\n')

export interface StreamOutletOptions {
  readonly client: Client
  readonly front: Front
  readonly call: Call
  readonly headers: () => Readonly<Record<string, string>>
}

/** Sends events to a caller as they come. The status line goes out with the first of them. */
export function streamOutlet({ client, front, call, headers }: StreamOutletOptions): Outlet {
  const model = encoder.encode(JSON.stringify(call.model))
  let isOpen = false

  function open(): void {
    if (isOpen) return
    isOpen = true
    client.open(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      ...headers(),
    })
  }
  /** While nothing has been sent, a status can still tell, and SDKs go by it. */
  function refuse(error: GatewayError): void {
    const failure = front.failure(error)
    const bytes = encoder.encode(JSON.stringify(failure.body))
    const length = { 'content-type': 'application/json', 'content-length': String(bytes.length) }
    client.open(failure.status, { ...headers(), ...length, ...failure.headers })
    client.end(bytes)
  }
  const payload = (step: RelayStep) => edited(step, { model, hidesUsage: !call.wantsUsage })

  return {
    live: true,
    write(steps) {
      // Before the status goes out: an event that cannot be edited must not leave half an answer behind.
      const bytes = concat(steps.map((step) => frame(payload(step))))
      open()
      return client.write(bytes)
    },
    close(usage, cost) {
      const bytes = usage ? concat([frame(front.withCost(payload(usage), cost)), done]) : done
      open()
      client.end(bytes)
    },
    fail(error) {
      if (isOpen) client.end(front.failureEvent(error))
      else refuse(error)
    },
    cut(error) {
      open()
      client.end(concat([front.cutEvent(call), front.failureEvent(error)]))
    },
    destroy: () => client.destroy(),
  }
}

interface Edit {
  /** The public model name, as JSON. */
  readonly model: Uint8Array
  readonly hidesUsage: boolean
}

/** Our own edits of a vendor's event, and all of them: the model's name, usage that nobody asked for, a null error. */
function edited({ event, piece }: RelayStep, { model, hidesUsage }: Edit): Uint8Array {
  if (event.data[0] !== 0x7b) return event.data
  const hidden = hidesUsage ? ['usage', 'error'] : ['error']
  const named = piece.servedModel === undefined ? event.data : replaceValue(event.data, 'model', model)
  return removeMembers(named, hidden)
}

/** What a gathered answer became. Costs in nano-units. */
export interface Gathered {
  complete(cost: bigint): void
  fail(error: GatewayError): void
  cut(cost: bigint): void
}

/** Gathers events for a caller who wants one body; nothing reaches him before the end. */
export function gatherOutlet(add: (event: ServerEvent) => void, result: Gathered, destroy: () => void): Outlet {
  return {
    live: false,
    write(steps) {
      for (const { event } of steps) add(event)
      return true
    },
    close(usage, cost) {
      if (usage) add(usage.event)
      result.complete(cost)
    },
    fail: result.fail,
    cut: (_, cost) => result.cut(cost),
    destroy,
  }
}
