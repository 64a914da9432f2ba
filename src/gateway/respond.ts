import type { Call, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { limitHeaders } from '../core/rate-limit.ts'
import { usageBody } from '../core/usage.ts'
import type { Answered } from '../call/attempt.ts'
import { createGatherer } from '../fronts/chat-gather.ts'
import type { Front } from '../fronts/front.ts'
import type { Metered } from '../ledger/engine/records.ts'
import { type Collector, gatherOutlet, streamOutlet } from '../meter/outlet.ts'
import { type Outlet, relay, type RelayEnding, type RelayStep, type Source } from '../meter/relay.ts'
import { spread } from '../meter/spread.ts'
import { chunksOf, passingVoice, writingVoice } from '../meter/voice.ts'
import type { Vendor, VendorReply, VendorUsage } from '../vendors/vendor.ts'
import { chargeAhead, chargeEnding, type Served } from './charging.ts'
import type { Asking } from './asking.ts'
import type { Gateway } from './gateway.ts'

export interface Responding extends Served {
  readonly answered: Answered
}

const encoder = new TextEncoder()

/** Brings a vendor's answer to the caller in the form that he asked for, and charges it. Resolves when all is done. */
export async function respond(gateway: Gateway, asking: Asking, responding: Responding): Promise<void> {
  const { answered, call } = responding
  const { answer, passes } = answered
  if (answer.kind === 'stream') return stream(gateway, asking, { ...responding, source: answer, passes })
  // What is no conversation has no parts that it could be spread into.
  if (!call.stream || call.measure) return whole(gateway, asking, { ...responding, ...answer })
  const spreading = spreadSource(asking.front, responding, answer.body)
  return spreading ? stream(gateway, asking, { ...responding, ...spreading }) : refuse(gateway, responding)
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

const wholeEnding: RelayEnding = { ...unstreamed, outcome: 'complete', delivered: true }

interface Whole extends Responding {
  readonly reply: VendorReply
  readonly body: JsonObject
  readonly bytes: Uint8Array
}

/** An unstreamed answer, as it came or translated. It is charged, then sent. */
async function whole(gateway: Gateway, { client, id, front }: Asking, answer: Whole): Promise<void> {
  const { reply } = answer
  const { tokenizer, clock } = gateway.platform
  const body = bodyOf(front, answer)
  if (!body) return refuse(gateway, answer)
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
  const type = reply.raw && { 'content-type': reply.raw.type }
  sendJson({ client, id }, { status: 200, headers: { ...headersOf(front, answer, cost), ...type }, body })
}

/**
 * The answer in the caller's dialect, under the name that was asked for: the vendor's bytes where it speaks the same.
 * Undefined where they are beyond the bounds of an edit.
 */
function bodyOf(front: Front, { answered, reply, call, bytes, body }: Whole): Uint8Array | undefined {
  try {
    if (reply.raw) return reply.raw.bytes
    if (answered.passes) {
      const sent = reply.repaired ? encoder.encode(JSON.stringify(reply.repaired)) : bytes
      const isOther = reply.servedModel !== undefined && reply.servedModel !== call.model
      return isOther ? front.passing(call).body(sent, true) : sent
    }
    return encoder.encode(JSON.stringify(front.reply(call, named(call, reply.inner ?? body, reply.usage))))
  } catch {
    // Too many members, or nested beyond the stack: the vendor's fault, and the caller must not be told that it is his.
    return undefined
  }
}

/** A whole answer in the inner language, with the model as asked for and usage in our normal form. */
function named(call: Call, inner: JsonObject, usage: VendorUsage | undefined): JsonObject {
  const { usage: _, ...rest } = inner
  return { ...rest, model: call.model, ...(usage && { usage: usageBody(usage.counts) }) }
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
  /** The source's events are in the caller's dialect. */
  readonly passes: boolean
}

/** A streamed answer, to a caller who streams or gathered for one who does not. */
async function stream(gateway: Gateway, asking: Asking, streaming: Streaming): Promise<void> {
  const { client, id } = asking
  const { call, admission, policies, source, target } = streaming
  const { platform, running } = gateway
  // Bytes have no place for it behind them.
  const cost = call.form === 'bytes' ? await chargeAhead(gateway, streaming, wholeEnding) : undefined
  const outlet = call.stream ? live(asking, streaming, cost) : gathering(asking, streaming)
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
  const measure = async (): Promise<Metered> => {
    const { started } = admission.hold
    const [inputTokens, outputTokens] = [await admission.promptTokens(), await relaying.counted()]
    const serviceTier = relaying.serviceTier()
    return {
      started,
      inputTokens,
      outputTokens,
      vendor: target?.vendor ?? '',
      vendorModel: target?.model ?? '',
      tokenizer: platform.tokenizer.name,
      ...(serviceTier !== undefined && { serviceTier }),
    }
  }
  admission.hold.measure = measure
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

/** Tells a stream to a caller who streams. */
function live({ client, front }: Asking, streaming: Streaming, cost?: bigint): Outlet {
  const { call, passes } = streaming
  const voice = passes ? passingVoice(front.passing(call)) : writingVoice(front.writer(call))
  const headers = (): Record<string, string> => ({ ...headersOf(front, streaming, cost), ...typeOf(streaming) })
  return streamOutlet({ client, front, call, voice, headers })
}

/** Bytes that pass as they are keep their type. */
function typeOf({ call, answered }: Responding): Record<string, string> {
  const type = answered.answer.head.headers['content-type']
  const isPlain = call.form === 'bytes' || (call.measure !== undefined && !call.stream)
  return isPlain && type !== undefined ? { 'content-type': type } : {}
}

/** Gathers a stream into the body that an unstreamed call gets. */
function gathering({ client, id, front }: Asking, streaming: Streaming): Outlet {
  const { call, passes } = streaming
  const gathered = passes ? ownGathered(front, call) : translatedGathered(front, call)
  const send = (cost: bigint, finish?: string) => {
    const body = gathered.bytes?.() ?? encoder.encode(JSON.stringify(gathered.body(finish)))
    const headers = { ...headersOf(front, streaming, cost), ...typeOf(streaming) }
    sendJson({ client, id }, { status: 200, headers, body })
  }
  const fail = (error: GatewayError) => {
    const failure = front.failure(error, id)
    const headers = { ...headersOf(front, streaming), ...failure.headers }
    sendJson({ client, id }, { status: failure.status, headers, body: encoder.encode(JSON.stringify(failure.body)) })
  }
  // A body whose money ran out says so as one whose token bound was reached.
  const result = { complete: send, fail, cut: (cost: bigint) => send(cost, 'length') }
  return gatherOutlet(gathered, result, () => client.destroy())
}

interface Body extends Collector {
  body(finish: string | undefined): JsonObject
  /** In its place, where the answer is no JSON. */
  bytes?(): Uint8Array
}

/** The vendor's own body, made of its own events. */
function ownGathered(front: Front, call: Call): Body {
  const gatherer = front.passing(call).gatherer()
  return {
    add: ({ event, piece }) => gatherer.add(piece.repaired ? { ...event, data: piece.repaired } : event),
    body: (finish) => gatherer.body(finish),
    ...(gatherer.bytes && { bytes: gatherer.bytes }),
  }
}

/** The body in the caller's dialect, gathered in the inner language. */
function translatedGathered(front: Front, call: Call): Body {
  const gatherer = createGatherer()
  let usage: VendorUsage | undefined
  return {
    add(step) {
      usage = step.piece.usage ?? usage
      for (const chunk of chunksOf(step)) gatherer.addChunk(chunk)
    },
    body: (finish) => front.reply(call, named(call, gatherer.body(finish), usage)),
  }
}

/** A body where a stream was asked for becomes a stream of its parts; undefined for one that cannot be read. */
function spreadSource(
  front: Front,
  { call, answered }: Responding,
  body: JsonObject,
): Pick<Streaming, 'source' | 'passes'> | undefined {
  try {
    const own = answered.passes ? unfolded(front, answered.vendor, { call, body }) : undefined
    if (own) return { source: sourceOf(own), passes: true }
    // Read anew: for a caller of the vendor's own dialect it was not translated, and now it must be.
    const reply = answered.vendor.reply(body, { call, translates: true })
    return { source: sourceOf(spread(reply.inner ?? body, reply)), passes: false }
  } catch {
    // It is nested deeper than the stack: the vendor's fault.
    return undefined
  }
}

/** The body as the vendor's own events, read as those of any stream of it; undefined where one of them cannot be. */
function unfolded(
  front: Front,
  vendor: Vendor,
  { call, body }: { readonly call: Call; readonly body: JsonObject },
): readonly RelayStep[] | undefined {
  const events = front.passing(call).unfold?.(body)
  const read = vendor.reader({ call, translates: false })
  const steps = events?.map((event) => ({ event, piece: read(event) }))
  return steps?.some(({ piece }) => piece.error) ? undefined : steps
}

/** Steps that are all there already. */
function sourceOf(steps: readonly RelayStep[]): Source {
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

function headersOf({ idHeader }: Front, responding: Responding, cost?: bigint): Record<string, string> {
  const { call, target, attempts, admission, answered, notes } = responding
  return {
    'x-request-id': call.id,
    ...(idHeader !== undefined && { [idHeader]: call.id }),
    'x-tollgate-vendor': target?.vendor ?? '',
    'x-tollgate-model': target?.model ?? '',
    'x-tollgate-attempts': String(attempts.length),
    ...notes,
    ...(answered.dropped.length > 0 && { 'x-tollgate-dropped-params': answered.dropped.join(',') }),
    ...(cost !== undefined && { 'x-tollgate-cost': printMoney(cost) }),
    ...limitHeaders(admission.hold.left),
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
