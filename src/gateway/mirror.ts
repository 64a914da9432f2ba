import type { Counts } from '../core/price.ts'
import { attemptTargets, type Answered } from '../call/attempt.ts'
import { CallerGone, NoAnswer } from '../call/no-answer.ts'
import { failedCost } from '../call/lost-cost.ts'
import { pinPrices } from '../ledger/prices.ts'
import { usageRecord } from '../record/usage.ts'
import type { Asked } from './asking.ts'
import type { Gateway } from './gateway.ts'
import type { CallRoute } from './routing.ts'

/** Mirrored calls under way; beyond it none is mirrored: nobody waits for them, and so nobody would notice. */
const mirrorLimit = 100
/** Marks the record of a mirrored call, which is no call of the account's. */
const mark = 'mirror'

/** By gateway: a mirror must not outgrow what it mirrors. */
const underWay = new WeakMap<Gateway, number>()

/** Sends the call to its mirror too, if it has one. Its answer is read and dropped; what it costs us goes into the books. */
export function mirror(gateway: Gateway, asked: Asked & { readonly route: CallRoute }): void {
  const { mirror: candidate } = asked.route
  const running = underWay.get(gateway) ?? 0
  if (!candidate || running >= mirrorLimit) return
  underWay.set(gateway, running + 1)
  const work = play(gateway, asked)
    .catch((error: unknown) => gateway.platform.log('mirror_failed', { id: asked.call.id, error: String(error) }))
    .finally(() => underWay.set(gateway, (underWay.get(gateway) ?? 1) - 1))
  gateway.platform.later(work)
}

async function play(
  gateway: Gateway,
  { caller, call, model, route }: Asked & { readonly route: CallRoute },
): Promise<void> {
  const { platform, router } = gateway
  const candidates = route.mirror ? [route.mirror] : []
  // A body has its usage; a stream would have to be asked for it, and nobody waits for its first word.
  const rules = { retries: 0, random: router.random, spend: () => false }
  const waiting = new AbortController()
  const stopping = { interrupt: () => waiting.abort() }
  gateway.running.add(stopping)
  try {
    const answered = await attemptTargets(platform, { call, candidates, stream: false, signal: waiting.signal, rules })
    const { counts, ...said } = await heard(answered)
    store(gateway, { caller, call, model, answered, counts, said })
  } catch (caught) {
    if (!(caught instanceof NoAnswer || caught instanceof CallerGone)) throw caught
    const why = caught instanceof NoAnswer ? caught.error.code : 'shutting_down'
    platform.log('mirror_failed', { id: call.id, model: model.name, error: why })
  } finally {
    gateway.running.delete(stopping)
  }
}

interface Heard {
  readonly counts: Counts
  readonly finish?: string
  readonly servedModel?: string
}

/** Reads an answer to its end; what it counts is what it has said so far. */
function heard({ answer }: Answered): Promise<Heard> {
  if (answer.kind === 'body') {
    const { usage, finish, servedModel } = answer.reply
    return Promise.resolve({
      counts: usage?.counts ?? {},
      ...(finish !== undefined && { finish }),
      ...(servedModel !== undefined && { servedModel }),
    })
  }
  return new Promise((resolve) => {
    let counts: Counts = {}
    answer.attach({
      steps(steps) {
        for (const { piece } of steps) counts = piece.usage?.counts ?? counts
      },
      end: () => resolve({ counts }),
      fail: () => resolve({ counts }),
    })
  })
}

interface Mirrored extends Pick<Asked, 'caller' | 'call' | 'model'> {
  readonly answered: Answered
  readonly counts: Counts
  readonly said: Omit<Heard, 'counts'>
}

/** A row of its own, that charges nothing and holds nothing: only the vendor's cost is in it. */
function store({ platform, ledger }: Gateway, { caller, call, model, answered, counts, said }: Mirrored): void {
  const { clock, crypto, catalog } = platform
  const endedAtMs = clock.now()
  const { target, attempts } = answered
  const record = usageRecord({
    call: { ...call, id: crypto.uuidv7(endedAtMs) },
    caller,
    prices: pinPrices(model, caller, catalog().exchange),
    kind: 'void',
    outcome: 'complete',
    // Tokens of the account's are only those of its calls.
    usage: { counts: {}, source: 'fixed' },
    target: undefined,
    attempts,
    charge: 0n,
    parts: [],
    endedAtMs,
    rated: { promptTokens: 0, startedAtMs: call.startedAtMs },
    error: mark,
    ...said,
  })
  const cost = failedCost({ call, target, counts })
  const paid = record.attempts.map((attempt) => (attempt.error === undefined ? { ...attempt, ...cost } : attempt))
  ledger.batcher.add({ ...record, vendor: target.vendor, vendorModel: target.model, attempts: paid })
}
