import type { Caller, Target } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import type { GatewayError } from '../core/errors.ts'
import { admit, type Admission } from '../admit/admit.ts'
import { attemptTargets, CallerGone, NoAnswer, type Answered } from '../call/attempt.ts'
import { StaleKey } from '../ledger/hold.ts'
import { route } from '../route/route.ts'
import { vendors } from '../vendors/index.ts'
import { type Asking, callerOf, modelFor, readCall } from './asking.ts'
import { chargeEnding, type Served, voidCall } from './charging.ts'
import type { Gateway } from './gateway.ts'
import { respond } from './respond.ts'

/**
 * The product in one screen: authenticate, read, admit, route, call, relay and meter, settle, record.
 * Throws GatewayError as long as nothing was sent to the caller; from the first byte on the stream itself tells.
 */
export async function exchange(gateway: Gateway, asking: Asking): Promise<void> {
  const { platform } = gateway
  const { caller, call, model } = await readCall(gateway, asking, asking.front.read)
  const targets = route(platform.catalog(), model)
  const admitted = await admitCall(gateway, asking, { caller, call, model, free: isFree(gateway, targets) })
  const served: Served = { call, policies: model.policies, target: undefined, attempts: [], begun: false, ...admitted }

  try {
    const answered = await answerFrom(gateway, asking, { served, model, targets })
    if (answered) await bring(gateway, asking, { served, answered })
  } finally {
    // Whatever has failed: a hold that is left over is the reaper's, who spares those that are live.
    gateway.ledger.live.delete(served.admission.hold)
  }
}

/** Whatever fails on the way, no hold is left behind: nobody but its call would ever end it. */
async function bring(
  gateway: Gateway,
  asking: Asking,
  { served, answered }: { served: Served; answered: Answered },
): Promise<void> {
  const { target, attempts } = answered
  const begun: Served = { ...served, target, attempts, begun: true }
  try {
    await respond(gateway, asking, { ...begun, answered })
  } catch (caught) {
    if (gateway.ledger.live.has(served.admission.hold)) await voidCall(gateway, begun, 'internal')
    throw caught
  }
}

/** The sandbox is recorded and priced, never charged. A model that mixes it with real vendors is charged. */
function isFree({ platform }: Gateway, targets: readonly Target[]): boolean {
  const catalog = platform.catalog()
  return targets.every((target) => vendors.get(catalog.vendors.get(target.vendor)?.adapter ?? '')?.free === true)
}

interface Admitted {
  readonly caller: Caller
  readonly admission: Admission
}

/** A key that was changed since it was cached is authenticated anew, once. */
async function admitCall(gateway: Gateway, asking: Asking, request: Parameters<typeof admit>[1]): Promise<Admitted> {
  try {
    return { caller: request.caller, admission: await admit(gateway.ledger, request) }
  } catch (error) {
    if (!(error instanceof StaleKey)) throw error
    gateway.auth.forget()
    const caller = await callerOf(gateway, asking)
    modelFor(gateway, caller, request.call)
    return { caller, admission: await admit(gateway.ledger, { ...request, caller }) }
  }
}

interface Answering {
  readonly served: Served
  readonly model: Model
  readonly targets: readonly Target[]
}

/** The first target that answers with content; undefined when the caller left. On any failure the hold is ended. */
async function answerFrom(
  gateway: Gateway,
  { client }: Asking,
  { served, model, targets }: Answering,
): Promise<Answered | undefined> {
  const { call, admission } = served
  const waiting = new AbortController()
  const running = { interrupt: (error: GatewayError) => waiting.abort(error) }
  client.onGone(() => waiting.abort())
  if (client.gone) waiting.abort()
  gateway.running.add(running)
  try {
    return await attemptTargets(gateway.platform, {
      call,
      model,
      targets,
      stream: call.stream || !admission.whole,
      signal: waiting.signal,
    })
  } catch (caught) {
    return await unanswered(gateway, { served, targets, caught })
  } finally {
    gateway.running.delete(running)
  }
}

interface Unanswered {
  readonly served: Served
  readonly targets: readonly Target[]
  readonly caught: unknown
}

/** Ends the hold of a call that no vendor has answered, and tells the caller why, if he is there. */
async function unanswered(gateway: Gateway, { served, targets, caught }: Unanswered): Promise<undefined> {
  if (!(caught instanceof CallerGone || caught instanceof NoAnswer)) {
    await voidCall(gateway, served, 'internal')
    throw caught
  }
  const { attempts } = caught
  const last = attempts.at(-1)
  const target = targets.find(({ vendor, model }) => vendor === last?.vendor && model === last.model)
  const tried: Served = { ...served, target, attempts }
  if (caught instanceof CallerGone) return leave(gateway, { ...tried, begun: caught.begun })
  await voidCall(gateway, tried, caught.error.code)
  throw caught.error
}

/** The caller hung up before any content. Where no vendor was called yet, there is nothing to record. */
async function leave(gateway: Gateway, served: Served): Promise<undefined> {
  if (served.attempts.length === 0) {
    await served.admission.hold.void()
    return
  }
  await chargeEnding(gateway, served, {
    outcome: 'client_abort',
    usage: undefined,
    isUsageFresh: false,
    counted: () => Promise.resolve(0),
    delivered: false,
    finish: undefined,
    servedModel: undefined,
    serviceTier: undefined,
    firstByteAtMs: undefined,
    error: undefined,
  })
}
