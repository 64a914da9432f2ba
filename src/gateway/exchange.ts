import type { Model } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import { admit } from '../admit/admit.ts'
import { attemptTargets, type Answered } from '../call/attempt.ts'
import { soldFromCache } from '../call/hit-prices.ts'
import { CallerGone, NoAnswer } from '../call/no-answer.ts'
import { keepAlive } from './alive.ts'
import { type Asked, type Asking, readCall } from './asking.ts'
import { type CacheTurn, openTurn } from './cached.ts'
import { chargeEnding, type Served, voidCall } from './charging.ts'
import { staleAnswer, staleNotes, staleTerms } from './degraded.ts'
import type { Gateway } from './gateway.ts'
import { letIn } from './let-in.ts'
import { mirror } from './mirror.ts'
import { makeOnce } from './once.ts'
import { respond } from './respond.ts'
import { withRoom } from './vendor-room.ts'
import { type CallRoute, explainedError, isFreeRoute, routeCall, routeHeaders, servedPrices } from './routing.ts'

/**
 * The product in one screen: authenticate, read, admit, route, call, relay and meter, settle, record.
 * Throws GatewayError as long as nothing was sent to the caller; from the first byte on the stream itself tells.
 */
export async function exchange(gateway: Gateway, asking: Asking): Promise<void> {
  const asked = await readCall(gateway, asking, asking.front.read)
  await keepAlive(gateway, asking, {
    asked,
    make: (kept) => makeOnce(gateway, kept, { asked, make: (once) => answerCall(gateway, once, asked) }),
  })
}

/** Answers a call as an identical one was answered before, or else by asking a vendor. */
async function answerCall(gateway: Gateway, asking: Asking, asked: Asked): Promise<void> {
  const turn = await openTurn(gateway, asking, asked)
  try {
    await (turn.found
      ? tellFound(gateway, asking, { asked, turn, found: turn.found })
      : callVendors(gateway, asking, { asked, turn }))
  } finally {
    turn.over()
  }
}

interface Turned {
  readonly asked: Asked
  readonly turn: CacheTurn
}

/** Admitted and charged like any other call, at the price of an answer from the cache. */
async function tellFound(
  gateway: Gateway,
  asking: Asking,
  { asked, turn, found }: Turned & { readonly found: Answered },
): Promise<void> {
  const { caller, call, model } = asked
  const sold = soldFromCache(model, turn.policy.hitPpm)
  const free = isFreeRoute(gateway, [found.target])
  const admitted = await letIn(gateway, asking, { request: { caller, call, model: sold, free }, admit })
  const { target, attempts } = found
  const { notes, ...begun } = beginning(asked, turn)
  const said = { ...notes, ...staleNotes(gateway, found) }
  const served: Served = { ...begun, ...admitted, notes: said, target, attempts, begun: true }
  try {
    await bring(gateway, asking, { served, answered: found })
  } finally {
    gateway.ledger.live.delete(served.admission.hold)
  }
}

async function callVendors(gateway: Gateway, asking: Asking, { asked, turn }: Turned): Promise<void> {
  const { caller, call, model } = asked
  const route = await routed(gateway, asking, asked)
  if (route instanceof GatewayError) {
    const found = await staleAnswer(turn, route)
    if (!found) throw route
    return tellFound(gateway, asking, { asked, turn, found })
  }
  const free = isFreeRoute(
    gateway,
    route.candidates.map(({ target }) => target),
  )
  const admitted = await letIn(gateway, asking, { request: { caller, call, model: route.payer, free }, admit })
  const served: Served = { ...beginning(asked, turn), ...admitted }

  try {
    mirror(gateway, { ...asked, route })
    const answered = await answerFrom(gateway, asking, { served, route, turn })
    if (answered) {
      const begun = begunBy(gateway, { served, answered, model, route, turn })
      await bring(gateway, asking, { served: begun, answered: turn.watch(answered) })
    }
  } finally {
    // Whatever has failed: a hold that is left over is the reaper's, who spares those that are live.
    gateway.ledger.live.delete(served.admission.hold)
  }
}

/** Where a call may be served, or why nowhere. */
async function routed(gateway: Gateway, { client }: Asking, asked: Asked): Promise<CallRoute | GatewayError> {
  try {
    return await withRoom(gateway, asked, routeCall(gateway, asked, client.header))
  } catch (caught) {
    if (caught instanceof GatewayError) return caught
    throw caught
  }
}

/** What is known of a call before anybody was asked. */
function beginning({ call, model }: Asked, { state, heard }: CacheTurn): Omit<Served, 'caller' | 'admission'> {
  const notes = { 'x-tollgate-cache': state }
  return { call, policies: model.policies, target: undefined, attempts: [], begun: false, notes, heard }
}

interface Begun extends Answering {
  readonly answered: Answered
  readonly model: Model
}

/** The call, as it stands once a target has begun to answer. */
function begunBy(gateway: Gateway, { served, answered, model, route, turn }: Begun): Served {
  const { target, attempts, staleSinceMs } = answered
  if (staleSinceMs !== undefined) {
    const notes = { ...served.notes, ...routeHeaders(route, model, answered), ...staleNotes(gateway, answered) }
    const terms = staleTerms(gateway, { caller: served.caller, model, turn })
    return { ...served, target, attempts, notes, begun: true, ...terms }
  }
  const cheaper = servedPrices(gateway, served.caller, { answered, payer: route.payer })
  const notes = { ...served.notes, ...routeHeaders(route, model, answered) }
  return { ...served, target, attempts, notes, begun: true, ...(cheaper && { cheaper }) }
}

/** Whatever fails on the way, no hold is left behind: nobody but its call would ever end it. */
async function bring(
  gateway: Gateway,
  asking: Asking,
  { served, answered }: { readonly served: Served; readonly answered: Answered },
): Promise<void> {
  try {
    await respond(gateway, asking, { ...served, answered })
  } catch (caught) {
    if (gateway.ledger.live.has(served.admission.hold)) await voidCall(gateway, served, 'internal')
    throw caught
  }
}

interface Answering {
  readonly served: Served
  readonly route: CallRoute
  readonly turn: CacheTurn
}

/**
 * The first target that answers with content, or what stands in for them; undefined when the caller left. On any
 * failure the hold is ended.
 */
async function answerFrom(
  gateway: Gateway,
  { client }: Asking,
  { served, route, turn }: Answering,
): Promise<Answered | undefined> {
  const { call, admission } = served
  const { retries, hedgeMs } = route.policy
  const { budget, random } = gateway.router
  const waiting = new AbortController()
  const running = { interrupt: (error: GatewayError) => waiting.abort(error) }
  client.onGone(() => waiting.abort())
  if (client.gone) waiting.abort()
  gateway.running.add(running)
  try {
    return await attemptTargets(gateway.platform, {
      call,
      candidates: route.candidates,
      stream: call.stream || !admission.whole,
      signal: waiting.signal,
      rules: { retries, hedgeMs, random, spend: budget.spend },
    })
  } catch (caught) {
    return await unanswered(gateway, { served, route, turn, caught })
  } finally {
    gateway.running.delete(running)
  }
}

interface Unanswered extends Answering {
  readonly caught: unknown
}

/**
 * What stands in for a call that no vendor has answered; else its hold is ended, and the caller is told why, if he is
 * there.
 */
async function unanswered(
  gateway: Gateway,
  { served, route, turn, caught }: Unanswered,
): Promise<Answered | undefined> {
  if (!(caught instanceof CallerGone || caught instanceof NoAnswer)) {
    await voidCall(gateway, served, 'internal')
    throw caught
  }
  const { attempts } = caught
  const last = attempts.at(-1)
  const tries = route.candidates.map(({ target }) => target)
  const target = tries.find(({ vendor, model }) => vendor === last?.vendor && model === last.model)
  const tried: Served = { ...served, target, attempts }
  if (caught instanceof CallerGone) return leave(gateway, { ...tried, begun: caught.begun })
  const stale = await staleAnswer(turn, caught.error)
  if (stale) return { ...stale, attempts }
  await voidCall(gateway, tried, caught.error.code)
  throw explainedError(caught.error, route)
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
