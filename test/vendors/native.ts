import type { Call, JsonObject } from '../../src/core/call.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import type { ServerEvent } from '../../src/core/sse.ts'
import type { Vendor } from '../../src/vendors/vendor.ts'
import { translating } from './streams.ts'

const access = { baseUrl: 'https://vendor.test', apiKey: 'key', connectMs: 1 }

/** What a vendor with a wire of its own is sent for a request of the inner language. */
export function nativeRequest(
  vendor: Vendor,
  inner: JsonObject,
  { model = 'm', stream = false }: { model?: string; stream?: boolean } = {},
) {
  const call: Call = { ...translating.call, body: inner, inner }
  const { url, headers, body, dropped = [] } = vendor.request(call, { vendor: vendor.id, model }, access, stream)
  return { url, headers, body: JSON.parse(new TextDecoder().decode(body)) as JsonObject, dropped }
}

/** The message and the end of the answer that a stream's chunks make. */
export function answerOf(vendor: Vendor, events: readonly ServerEvent[]) {
  const read = vendor.reader(translating)
  const gatherer = createGatherer()
  const pieces = events.map((event) => read(event))
  for (const chunk of pieces.flatMap(({ chunks }) => chunks ?? [])) gatherer.addChunk(chunk)
  const [choice] = gatherer.body()['choices'] as readonly JsonObject[]
  return { pieces, message: choice?.['message'], finish: choice?.['finish_reason'] }
}
