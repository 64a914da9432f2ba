import type { JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { replaceValue } from '../core/json-bytes.ts'
import { printMoney } from '../core/money.ts'
import { objectsOf } from '../core/wire.ts'
import type { Answered } from '../call/attempt.ts'
import { createGatherer } from '../meter/gather.ts'
import { gatherOutlet, streamOutlet } from '../meter/outlet.ts'
import { type Outlet, relay, type RelayEnding, type RelayStep, type Source } from '../meter/relay.ts'
import { spread } from '../meter/spread.ts'
import type { VendorReply } from '../vendors/vendor.ts'
import { chargeEnding, type Served } from './charging.ts'
import type { Asking } from './exchange.ts'
import type { Gateway } from './gateway.ts'

export interface Responding extends Served {
  readonly answered: Answered
}

const encoder = new TextEncoder()

/** Brings a vendor's answer to the caller in the form that he asked for, and charges it. Resolves when all is done. */
export async function respond(gateway: Gateway, asking: Asking, responding: Responding): Promise<void> {
  const { answer, vendor } = responding.answered
  if (answer.kind === 'stream') return stream(gateway, asking, { ...responding, source: answer })
  const { body, reply, bytes } = answer
  if (responding.call.stream) {
    const source = spreadSource(body, vendor.reader())
    return source ? stream(gateway, asking, { ...responding, source }) : refuse(gateway, responding)
  }
  await whole(gateway, asking, { ...responding, reply, bytes })
}

const unstreamed: Omit<RelayEnding, 'outcome' | 'delivered'> = {
  usage: undefined,
  isUsageFresh: true,
  counted: () => Promise.resolve(0),
  finish: undefined,
  servedModel: undefined,
  serviceTier: undefined,
  firstByteAtMs: undefined,
  error: undefined,
}

interface Whole extends Responding {
  readonly reply: VendorReply
  readonly bytes: Uint8Array
}

/** An unstreamed answer passes untouched but for the model's name. It is charged, then sent. */
async function whole(gateway: Gateway, { client, id }: Asking, answer: Whole): Promise<void> {
  const { reply } = answer
  const { tokenizer, clock } = gateway.platform
  const named = withName(answer)
  if (!named) return refuse(gateway, answer)
  const cost = await chargeEnding(gateway, answer, {
    ...unstreamed,
    // A caller who left before the body was sent got nothing.
    outcome: client.gone ? 'client_abort' : 'complete',
    delivered: !client.gone,
    usage: reply.usage,
    counted: () => tokenizer.count(reply.text),
    finish: reply.finish,
    servedModel: reply.servedModel,
    serviceTier: reply.serviceTier,
    firstByteAtMs: clock.now(),
  })
  sendJson({ client, id }, { status: 200, headers: headersOf(answer, id, cost), body: named })
}

/** The vendor's bytes under the name that was asked for; undefined where they are beyond the bounds of an edit. */
function withName({ reply, call, bytes }: Whole): Uint8Array | undefined {
  if (reply.servedModel === undefined) return bytes
  try {
    return replaceValue(bytes, 'model', encoder.encode(JSON.stringify(call.model)))
  } catch {
    // Too many members, which is the vendor's fault: the caller must not be told that it is his.
    return undefined
  }
}

function unusable(): GatewayError {
  return new GatewayError('vendor_error', 'The vendor sent an answer that cannot be passed on.')
}

/** An answer that cannot be passed on is not charged; nothing has been sent yet. */
async function refuse(gateway: Gateway, answer: Responding): Promise<never> {
  const error = unusable()
  await chargeEnding(gateway, answer, { ...unstreamed, outcome: 'vendor_failed', delivered: false, error })
  throw error
}

interface Streaming extends Responding {
  readonly source: Source
}

/** A streamed answer, to a caller who streams or gathered for one who does not. */
async function stream(gateway: Gateway, asking: Asking, streaming: Streaming): Promise<void> {
  const { client, id, front } = asking
  const { call, admission, policies, source, target } = streaming
  const { platform, running } = gateway
  const outlet = call.stream
    ? streamOutlet({ client, front, call, headers: () => headersOf(streaming, id) })
    : gathering(asking, streaming)
  const relaying = relay({
    source,
    outlet,
    cover: admission.hold,
    clock: platform.clock,
    tokenizer: platform.tokenizer,
    wantsUsage: call.wantsUsage || !call.stream,
    stallMs: platform.settings.stallMs,
    clientAbort: policies.clientAbort,
    settle: (ending) => chargeEnding(gateway, streaming, ending).catch((error) => lost(gateway, id, error)),
  })
  admission.hold.measure = async () => ({
    started: admission.hold.started,
    inputTokens: await admission.promptTokens(),
    outputTokens: await relaying.counted(),
    vendor: target?.vendor ?? '',
    vendorModel: target?.model ?? '',
    tokenizer: platform.tokenizer.name,
    ...(relaying.serviceTier !== undefined && { serviceTier: relaying.serviceTier }),
  })
  running.add(relaying)
  client.onGone(relaying.gone)
  client.onDrain(relaying.resume)
  if (client.gone) relaying.gone()
  relaying.start()
  await relaying.done
  running.delete(relaying)
}

/** A bug in the charging must not hang the caller; the hold is then the reaper's. */
function lost({ platform }: Gateway, id: string, error: unknown): bigint {
  platform.log('charge_failed', { id, error: String(error) })
  return 0n
}

/** Gathers a stream into the body that an unstreamed call gets. */
function gathering({ client, id, front }: Asking, streaming: Streaming): Outlet {
  const { call } = streaming
  const gathered = createGatherer()
  const send = (cost: bigint, isCut: boolean) => {
    const body = { ...(isCut ? cutShort(gathered.body()) : gathered.body()), model: call.model }
    sendJson(
      { client, id },
      { status: 200, headers: headersOf(streaming, id, cost), body: encoder.encode(JSON.stringify(body)) },
    )
  }
  const fail = (error: GatewayError) => {
    const failure = front.failure(error)
    const headers = { ...headersOf(streaming, id), ...failure.headers }
    sendJson({ client, id }, { status: failure.status, headers, body: encoder.encode(JSON.stringify(failure.body)) })
  }
  const result = { complete: (cost: bigint) => send(cost, false), fail, cut: (cost: bigint) => send(cost, true) }
  return gatherOutlet(gathered.add, result, () => client.destroy())
}

/** A body whose money ran out says so as one whose token bound was reached. */
function cutShort(body: JsonObject): JsonObject {
  const choices = objectsOf(body['choices']).map((choice) => ({
    ...choice,
    finish_reason: choice['finish_reason'] ?? 'length',
  }))
  return { ...body, choices }
}

/** A body where a stream was asked for becomes a stream of its parts; undefined for one that cannot be written anew. */
function spreadSource(body: JsonObject, read: ReturnType<Answered['vendor']['reader']>): Source | undefined {
  let steps: readonly RelayStep[]
  try {
    steps = spread(body).map((event) => ({ event, piece: read(event) }))
  } catch {
    // It is nested deeper than the stack: the vendor's fault.
    return undefined
  }
  return {
    attach(listener) {
      listener.steps(steps)
      listener.end()
    },
    pause() {},
    resume() {},
    abort() {},
  }
}

function headersOf({ target, attempts, admission }: Served, id: string, cost?: bigint): Record<string, string> {
  const { requests } = admission.hold
  return {
    'x-request-id': id,
    'x-tollgate-vendor': target?.vendor ?? '',
    'x-tollgate-model': target?.model ?? '',
    'x-tollgate-attempts': String(attempts.length),
    ...(cost !== undefined && { 'x-tollgate-cost': printMoney(cost) }),
    ...(requests && {
      'x-ratelimit-limit-requests': String(requests.limit),
      'x-ratelimit-remaining-requests': String(requests.remaining),
      'x-ratelimit-reset-requests': `${Math.ceil(requests.resetMs / 1000)}s`,
    }),
  }
}

interface JsonAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

function sendJson({ client }: Pick<Asking, 'client' | 'id'>, { status, headers, body }: JsonAnswer): void {
  if (client.gone) return
  client.open(status, { 'content-type': 'application/json', 'content-length': String(body.length), ...headers })
  client.end(body)
}
