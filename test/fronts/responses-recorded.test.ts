import { ResponseStream } from 'openai/lib/responses/ResponseStream'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { concat } from '../../src/core/concat.ts'
import { usageBody } from '../../src/core/usage.ts'
import { objectsOf, stringOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { responses as front } from '../../src/fronts/responses.ts'
import { anthropic } from '../../src/vendors/anthropic.ts'
import { gemini } from '../../src/vendors/gemini.ts'
import { vendors } from '../../src/vendors/index.ts'
import type { Vendor } from '../../src/vendors/vendor.ts'
import { recorded, recordedBytes, recordedRequest, type Recorded } from '../fixtures/recorded.ts'
import { eventsOf } from '../vendors/streams.ts'
import { eventsIn, faultsIn } from './responses-sequence.ts'

const call: Call = {
  ...front.read(new TextEncoder().encode('{"model":"public","input":"Hi","stream":true}'), {
    id: 'call-1',
    startedAtMs: 0,
    path: '/v1/responses',
    header: () => undefined,
    query: () => undefined,
  }),
}

/** An answer of any vendor as this dialect's events, and as an inner message. */
function translated(vendor: Vendor, entry: Recorded) {
  const writer = front.writer(call)
  const gatherer = createGatherer()
  const read = vendor.reader({ call, translates: true })
  const bytes: Uint8Array[] = []
  let usage: JsonObject | undefined
  for (const event of eventsOf(recordedBytes(entry))) {
    const piece = read(event)
    if (piece.error) continue
    if (piece.usage) usage = usageBody(piece.usage.counts)
    const chunks = piece.chunks ?? [JSON.parse(new TextDecoder().decode(event.data)) as JsonObject]
    for (const chunk of chunks) {
      gatherer.addChunk(chunk)
      bytes.push(writer.write(chunk))
    }
  }
  bytes.push(writer.close(usage))
  return { bytes: concat(bytes), inner: { ...gatherer.body(), ...(usage && { usage }) } }
}

/** The response that OpenAI's own client makes of a stream. */
async function accumulated(events: readonly JsonObject[]): Promise<JsonObject> {
  const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('')
  const stream = ResponseStream.fromReadableStream(new Response(lines).body!)
  return JSON.parse(JSON.stringify(await stream.finalResponse())) as JsonObject
}

const streams = [
  ...recorded('chat', 'openai', 'deepseek', 'qwen', 'doubao', 'groq', 'mistral', 'xai', 'openrouter').map(
    (entry) => [vendors.get(entry.vendor)!, entry] as const,
  ),
  ...recorded('messages', 'anthropic').map((entry) => [anthropic, entry] as const),
  ...recorded('generateContent', 'gemini').map((entry) => [gemini, entry] as const),
].filter(([, { streaming, status, features }]) => streaming && status === 200 && !features.includes('error_in_stream'))
const named = streams.map(([vendor, entry]) => [`${entry.vendor} ${entry.id}`, vendor, entry] as const)

describe.skipIf(streams.length === 0)('recorded answers of every vendor', () => {
  test.each(named)('%s becomes events that are in order', (_, vendor, entry) => {
    expect(faultsIn(eventsIn(translated(vendor, entry).bytes))).toEqual([])
  })

  test.each(named)('%s is read by the official client as what the whole answer is', async (_, vendor, entry) => {
    const { bytes, inner } = translated(vendor, entry)
    const events = eventsIn(bytes)
    const last = events.at(-1)?.['response'] as JsonObject
    const { output_text: text, output, status } = await accumulated(events)
    const reply = front.reply(call, { ...inner, model: 'public' })
    const bare = (items: unknown) =>
      objectsOf(items as JsonObject[]).map(({ id: _id, parsed: __, content, ...item }) => ({
        ...item,
        content: objectsOf(content).map(({ parsed: ___, ...part }) => part),
        parsed_arguments: undefined,
      }))
    const spoken = objectsOf(reply['output']).flatMap(({ type, content }) =>
      type === 'message' ? objectsOf(content) : [],
    )
    expect({ status, text }).toEqual({
      status: reply['status'],
      text: spoken.map((part) => stringOf(part['text'])).join(''),
    })
    expect(bare(output)).toEqual(bare(last['output']))
    // Of a stream, what belongs to the text may come after it.
    const sorted = (items: unknown) => bare(items).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
    expect(sorted(reply['output'])).toEqual(sorted(last['output']))
  })
})

const own = recorded('responses', 'openai', 'azure', 'xai', 'deepseek', 'bedrock-mantle', 'openrouter', 'lmstudio')
const whole = own.filter(
  ({ streaming, status, features }) => streaming && status === 200 && !features.includes('error_in_stream'),
)
const ownNamed = whole.map((entry) => [`${entry.vendor} ${entry.id}`, entry] as const)

describe.skipIf(own.length === 0)('recorded answers of this dialect', () => {
  test.each(ownNamed)('%s goes by with another model and its cost, and no other change', (_, entry) => {
    const read = vendors.get(entry.vendor)!.reader({ call, translates: false })
    const passing = front.passing(call)
    const events = eventsOf(recordedBytes(entry)).filter(({ data }) => data[0] === 0x7b)
    const sent = events.map((event) => {
      const piece = read(event)
      return passing.event({ event, piece }, piece.last ? 1_500n : undefined)
    })
    const wanted = events.map((event) => {
      const said = JSON.parse(new TextDecoder().decode(event.data)) as JsonObject
      const response = said['response'] as JsonObject | undefined
      if (!response) return said
      const usage = response['usage'] as JsonObject | null
      const isLast = said['type'] === 'response.completed' || said['type'] === 'response.incomplete'
      return {
        ...said,
        response: { ...response, model: 'public', ...(isLast && { usage: { ...usage, cost: 0.0000015 } }) },
      }
    })
    expect(eventsIn(concat(sent))).toEqual(wanted)
  })

  test.each(ownNamed)('%s is gathered as the vendor’s own whole answer', (_, entry) => {
    const gatherer = front.passing(call).gatherer()
    const events = eventsOf(recordedBytes(entry))
    for (const event of events) gatherer.add(event)
    const last = events.findLast(({ data }) => data[0] === 0x7b)
    const { response } = JSON.parse(new TextDecoder().decode(last?.data)) as { response: JsonObject }
    expect(gatherer.body()).toMatchObject({ ...response, model: 'public' })
  })

  test.each(
    own
      .filter((entry) => entry.status === 200 && recordedRequest(entry))
      .map((entry) => [`${entry.vendor} ${entry.id}`, entry] as const),
  )('%s was asked for in a way that can be read', (_, entry) => {
    const raw = recordedRequest(entry)!
    const { inner, beyond } = front.read(raw, {
      id: 'call-1',
      startedAtMs: 0,
      path: '/v1/responses',
      header: () => undefined,
      query: () => undefined,
    })
    const said = objectsOf(inner['messages']).length > 0
    expect([said || beyond !== undefined, inner['model']]).toEqual([
      true,
      JSON.parse(new TextDecoder().decode(raw)).model,
    ])
  })
})
