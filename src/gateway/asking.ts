import type { Call, Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import { canCharge } from '../core/measure.ts'
import { promptOf } from '../core/prompt.ts'
import { shed } from '../admit/shedding.ts'
import { mayUse } from '../auth/access.ts'
import { longBytes, readBodyAhead } from '../fronts/body.ts'
import type { Front, RequestParts } from '../fronts/front.ts'
import type { Client, Clock } from '../ports.ts'
import { findModel } from './catalog.ts'
import type { Gateway } from './gateway.ts'

/** One request for a model: who asks, in which dialect, over which connection. */
export interface Asking {
  readonly front: Front
  readonly client: Client
  /** UUIDv7: names the call everywhere. */
  readonly id: string
  /** Of the URL, decoded, without the query. */
  readonly path: string
  query(name: string): string | undefined
  /** As whose address the caller's counts, see core/address.ts; undefined or absent: nobody can tell. */
  address?(): string | undefined
}

/** A request that was understood, and the one who may make it. */
export interface Asked {
  readonly caller: Caller
  readonly call: Call
  readonly model: Model
}

/** Authenticates and reads a request. Throws GatewayError for whoever may not, and for what cannot be read. */
export async function readCall(
  gateway: Gateway,
  asking: Asking,
  read: (raw: Uint8Array, parts: RequestParts) => Call,
): Promise<Asked> {
  const { client, id, path, query } = asking
  const { clock, settings } = gateway.platform
  await gateway.turn?.()
  if (gateway.isStopping)
    throw new GatewayError('shutting_down', 'This gateway is stopping. Send the call again.', { retryAfterMs: 1_000 })
  const caller = await callerOf(gateway, asking)
  refuseOverload(gateway, caller)
  const startedAtMs = clock.now()
  refuseEncoded(client)
  const raw = await client.body(settings.bodyLimit)
  const form = await asking.front.unpack?.(raw, client.header)
  const nextTurn = () => turnOf(clock)
  if (!form) await readBodyAhead(raw, nextTurn)
  const call = read(raw, { id, startedAtMs, path, header: client.header, query, form })
  if (raw.length > longBytes) await readPromptAhead(call, nextTurn)
  return { caller, call, model: modelFor(gateway, caller, call) }
}

/** What takes milliseconds of a long body has turns of its own: the prompt is kept for whoever asks for it next. */
async function readPromptAhead(call: Call, nextTurn: () => Promise<void>): Promise<void> {
  await nextTurn()
  promptOf(call)
  await nextTurn()
}

/** Lets the event loop hear whoever waits. */
function turnOf({ after }: Pick<Clock, 'after'>): Promise<void> {
  return new Promise((resolve) => void after(0, resolve))
}

/** Who asks. Some SDKs put the key into the address. */
export function callerOf({ auth }: Gateway, { client, front, query }: Asking): Promise<Caller> {
  return auth.caller(client.header, front.keyInQuery === undefined ? undefined : query(front.keyInQuery))
}

/** Before the body is read: a process that is late must not be made later. */
function refuseOverload({ shedding, running, platform }: Gateway, caller: Caller): void {
  if (!shedding) return
  const { tiers = new Map() } = platform.settings.limits ?? {}
  shed(caller, { running: running.size, lagMs: shedding.lagMs() }, { rules: shedding.rules, tiers })
}

/** An encoded body would have to be unpacked within bounds of its own; no SDK sends one. */
function refuseEncoded({ header }: Client): void {
  const encoding = header('content-encoding')?.trim().toLowerCase() || 'identity'
  if (encoding !== 'identity')
    throw new GatewayError(
      'unsupported_media_type',
      'The body is sent with a content-encoding. Send it as plain JSON, without one.',
    )
}

/** The model that a caller names, if he may use it. */
export function modelFor({ platform }: Gateway, caller: Caller, call: Call): Model {
  const model = findModel(platform.catalog(), call.model)
  // The name that is checked is the model that is called: a key limited to one model cannot reach another by its target.
  if (model && mayUse(caller, model.name)) {
    checkOperation(model, call)
    return model
  }
  if (model)
    throw new GatewayError(
      'permission_denied',
      `This key may not use model "${call.model}". GET /v1/models lists those that it may.`,
      { param: 'model' },
    )
  throw new GatewayError(
    'model_not_found',
    `Model "${call.model}" does not exist here. GET /v1/models lists the models of this key.`,
    { param: 'model' },
  )
}

/** A model does what it is there for, and nothing for which it has no price. */
function checkOperation({ name, operation, prices }: Model, call: Call): void {
  if (operation !== undefined && operation !== call.operation)
    throw new GatewayError(
      'invalid_value',
      `Model "${name}" is for ${operation}, and this path is for ${call.operation}. Ask for it at a path of its own.`,
      { param: 'model' },
    )
  if (prices && !canCharge(call.operation, prices.nanos))
    throw new GatewayError(
      'price_not_configured',
      `Model "${name}" has no price for ${call.operation}, so it is not served. Its operator must set one.`,
      { param: 'model' },
    )
}
