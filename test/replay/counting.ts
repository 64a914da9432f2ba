import type { JsonObject } from '../../src/core/call.ts'
import { vendorKey, type CallerAnswer } from './gateway.ts'
import { decode, isObject, objectIn } from './reader.ts'
import type { Bench, Recording } from './run.ts'

/*
 * Recordings of a prompt that was counted. Where its vendor speaks a dialect that counts it is asked for in the caller's
 * own words, else as a prompt of messages. A vendor that refuses leaves the counting to the gateway.
 */

export const countingKinds: ReadonlySet<string> = new Set(['count_tokens', 'native-tokenizer'])

interface Asking {
  readonly path: string
  readonly body: JsonObject
  /** The name of the count in the answer. */
  readonly field: string
}

/** Replays one entry. Resolves to what differed; never rejects for a gateway's fault. */
export async function replayCounting(bench: Bench, recording: Recording): Promise<readonly string[]> {
  try {
    return await counted(bench, recording)
  } catch (error) {
    return [`stopped: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`]
  }
}

async function counted(bench: Bench, recording: Recording): Promise<readonly string[]> {
  const { gateway, vendor } = bench
  const { entry, response } = recording
  const { path, body, field } = askingFor(bench, recording)
  const headers = { ...entry.response_headers, 'content-type': 'application/json' }
  vendor.play({ status: entry.status, headers, pieces: [response], isSlow: false })
  const before = await gateway.balance()
  const answer = await gateway.ask(new TextEncoder().encode(JSON.stringify(body)), path)
  const sent = vendor.received()
  const faults = await gateway.settled()
  const paid = before - (await gateway.balance())
  return [
    ...faults,
    ...(sent.length === 1 ? [] : [`the vendor was called ${sent.length} times`]),
    ...(sent.every(({ key }) => key === vendorKey) ? [] : ['the vendor was not given our key']),
    ...(sent.every((request) => isCounting(request.path)) ? [] : [`the vendor was called at ${sent[0]?.path}`]),
    ...(paid === 0n ? [] : [`${paid} was charged for counting`]),
    ...checkCount(answer, { field, wanted: entry.status === 200 ? countIn(response) : undefined }),
  ]
}

function isCounting(path: string): boolean {
  return /[/:](count_tokens|count-tokens|countTokens|tokenizer)(\?|$)/.test(path)
}

function askingFor({ speaks }: Bench, { asked, model }: Recording): Asking {
  if (speaks.includes('generate'))
    return { path: `/v1beta/models/${model}:countTokens`, body: asked, field: 'totalTokens' }
  const path = '/v1/messages/count_tokens'
  const plain = { model, messages: [{ role: 'user', content: 'Say something.' }] }
  const isOwn = speaks.includes('messages') && asked['messages'] !== undefined
  return { path, body: isOwn ? asked : plain, field: 'input_tokens' }
}

function countIn(response: Uint8Array): unknown {
  const body = objectIn(decode(response))
  const { usage } = body
  const told = isObject(usage) ? usage['input_tokens'] : undefined
  return body['input_tokens'] ?? body['totalTokens'] ?? body['inputTokens'] ?? told
}

/** The vendor's count, or where it has none, the gateway's own. */
function checkCount(
  { status, bytes }: CallerAnswer,
  { field, wanted }: { field: string; wanted: unknown },
): readonly string[] {
  if (status !== 200) return [`status ${status}: ${decode(bytes).slice(0, 300)}`]
  const count = objectIn(decode(bytes))[field]
  const isRight = wanted === undefined ? typeof count === 'number' && count > 0 : count === wanted
  return isRight ? [] : [`the count is ${String(count)}, expected ${String(wanted ?? 'one of the gateway')}`]
}
