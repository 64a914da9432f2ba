import type { Target } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import type { Wish } from '../core/routing.ts'
import { attemptTargets } from '../call/attempt.ts'
import { CallerGone, NoAnswer } from '../call/no-answer.ts'
import { chat } from '../fronts/chat.ts'
import type { Gateway } from './gateway.ts'

/** Targets that are probed in one round; the others have their turn in the next. */
const roundLimit = 20
/** As few tokens as there can be: a probe costs next to nothing, and nobody pays for it. */
const question = { messages: [{ role: 'user', content: 'Say ok.' }], max_tokens: 1 }
const probeWish: Wish = { models: [], order: [], only: [], ignore: [], maxPrice: {}, explain: false }
const encoder = new TextEncoder()

/**
 * Asks every target that is not known to be well a question of a few tokens, so that one that has recovered is back
 * before a caller has tried it. Not recorded; what it costs is on the vendor's bill alone.
 */
export async function probe(gateway: Gateway): Promise<void> {
  const { platform, router } = gateway
  const catalog = platform.catalog()
  const doubtful = router.report(catalog).targets.filter(({ state, calls }) => state === 'half_open' || calls === 0)
  const round = doubtful.slice(0, roundLimit).flatMap(({ target, models: [name = ''] }) => {
    const model = catalog.models.get(name)
    return model ? [{ target, model }] : []
  })
  await Promise.all(round.map((each) => ask(gateway, each)))
}

async function ask(gateway: Gateway, { target, model }: { target: Target; model: Model }): Promise<void> {
  const { platform, router, running } = gateway
  const { clock, crypto, log } = platform
  const startedAtMs = clock.now()
  const raw = encoder.encode(JSON.stringify({ ...question, model: model.name }))
  const none = () => undefined
  const parts = { id: crypto.uuidv7(startedAtMs), startedAtMs, path: '/', header: none, query: none }
  const call = chat.read(raw, parts)
  const { routing: _, ...only } = { ...model, targets: [target] }
  const wanted = { catalog: platform.catalog(), model: only, call, accountId: 0, wish: probeWish }
  const { candidates } = router.route({ ...wanted, keyClass: { priority: 'test' }, refuses: none })
  const waiting = new AbortController()
  const stopping = { interrupt: () => waiting.abort() }
  const rules = { retries: 0, random: router.random, spend: () => false }
  running.add(stopping)
  try {
    const { answer } = await attemptTargets(platform, {
      call,
      candidates,
      stream: false,
      signal: waiting.signal,
      rules,
    })
    if (answer.kind === 'stream') answer.abort()
  } catch (caught) {
    if (!(caught instanceof NoAnswer || caught instanceof CallerGone)) throw caught
    if (caught instanceof NoAnswer)
      log('probe_failed', { vendor: target.vendor, model: target.model, error: caught.error.code })
  } finally {
    running.delete(stopping)
  }
}
