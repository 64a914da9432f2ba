import type { Target } from '../core/call.ts'
import { countTexts } from '../core/count-texts.ts'
import { readPrompt } from '../core/prompt.ts'
import { limitHeaders } from '../core/rate-limit.ts'
import { admitFree } from '../admit/admit-free.ts'
import { askCount } from '../call/ask-count.ts'
import type { Counting } from '../fronts/front.ts'
import type { Hold } from '../ledger/hold.ts'
import { liveTargets } from '../route/route.ts'
import { type Asked, type Asking, readCall } from './asking.ts'
import type { Gateway } from './gateway.ts'
import { letIn } from './let-in.ts'

const encoder = new TextEncoder()

/**
 * Counts the tokens of a prompt, as the vendor that would serve it counts them, or as we do where it does not say. It
 * counts at the limits of requests like any call, but is not charged, and nothing is recorded. Throws GatewayError as
 * `readCall` does, and for a limit that is reached.
 */
export async function countTokens(gateway: Gateway, asking: Asking, counting: Counting): Promise<void> {
  const asked = await readCall(gateway, asking, counting.read)
  const { admission: hold } = await letIn(gateway, asking, { request: asked, admit: admitFree })
  const tokens = await countedUnder(hold, gateway, { asking, asked })
  const { client, id } = asking
  if (client.gone) return
  const body = encoder.encode(JSON.stringify(counting.reply(tokens)))
  const length = { 'content-type': 'application/json', 'content-length': String(body.length) }
  client.open(200, { ...length, 'x-request-id': id, ...limitHeaders(hold.left) })
  client.end(body)
}

/** Where its store does not answer, the hold is ended by its sweep: it holds nothing but a place. */
async function ended({ platform }: Gateway, hold: Hold): Promise<void> {
  await hold.void().catch((error: unknown) => platform.log('void_deferred', { id: hold.id, error: String(error) }))
}

/** The hold has ended before its count is told: whoever has that may ask again at once. */
async function countedUnder(
  hold: Hold,
  gateway: Gateway,
  { asking, asked }: { readonly asking: Asking; readonly asked: Asked },
): Promise<number> {
  try {
    return await counted(gateway, asking, asked)
  } finally {
    await ended(gateway, hold)
  }
}

async function counted(gateway: Gateway, asking: Asking, asked: Asked): Promise<number> {
  const [target] = liveTargets(gateway.platform.catalog(), asked.model)
  const told = target && (await askVendor(gateway, asking, { asked, target }))
  return told ?? countOurselves(gateway, asked)
}

async function askVendor(
  { platform, running }: Gateway,
  { client }: Asking,
  { asked, target }: { asked: Asked; target: Target },
): Promise<number | undefined> {
  const waiting = new AbortController()
  const stop = { interrupt: () => waiting.abort() }
  running.add(stop)
  client.onGone(() => waiting.abort())
  try {
    return await askCount(platform, { call: asked.call, target, signal: waiting.signal })
  } finally {
    running.delete(stop)
  }
}

async function countOurselves({ platform }: Gateway, { call }: Asked): Promise<number> {
  const { texts, fixedTokens } = readPrompt(call.inner)
  return fixedTokens + (await countTexts(platform.tokenizer, texts))
}
