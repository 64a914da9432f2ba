import type { Target } from '../core/call.ts'
import { readPrompt } from '../core/prompt.ts'
import { askCount } from '../call/ask-count.ts'
import type { Counting } from '../fronts/front.ts'
import { liveTargets } from '../route/route.ts'
import { type Asked, type Asking, readCall } from './asking.ts'
import type { Gateway } from './gateway.ts'

const encoder = new TextEncoder()

/**
 * Counts the tokens of a prompt, as the vendor that would serve it counts them, or as we do where it does not say. Not
 * charged, nothing is held, nothing is recorded. Throws GatewayError as `readCall` does.
 */
export async function countTokens(gateway: Gateway, asking: Asking, counting: Counting): Promise<void> {
  const asked = await readCall(gateway, asking, counting.read)
  const [target] = liveTargets(gateway.platform.catalog(), asked.model)
  const told = target && (await askVendor(gateway, asking, { asked, target }))
  const tokens = told ?? (await countOurselves(gateway, asked))
  const { client, id } = asking
  if (client.gone) return
  const body = encoder.encode(JSON.stringify(counting.reply(tokens)))
  client.open(200, { 'content-type': 'application/json', 'content-length': String(body.length), 'x-request-id': id })
  client.end(body)
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
  const counts = await Promise.all(texts.map((text) => platform.tokenizer.count(text)))
  return counts.reduce((sum, tokens) => sum + tokens, fixedTokens)
}
