import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request that the fake vendor got. */
export interface VendorCall {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly bytes: Uint8Array
  /** Empty where the request is no JSON. */
  readonly body: Record<string, unknown>
  /** Resolves when the connection of this call closes; says whether the answer was whole. */
  readonly closed: Promise<'finished' | 'broken'>
}

export type Behaviour = (call: VendorCall, response: ServerResponse) => void | Promise<void>

/** A vendor on loopback: a real HTTP server that does what the test says. */
export interface FakeVendor {
  readonly url: string
  readonly calls: VendorCall[]
  /** What it does with the next requests, until told otherwise. */
  behave(behaviour: Behaviour): void
  close(): Promise<void>
}

/** A connection that is closed just as a busy gateway uses it again would be a fault that no test has asked for. */
const idleMs = 120_000

export async function startVendor(first: Behaviour = answerText('Hello')): Promise<FakeVendor> {
  let behaviour = first
  const calls: VendorCall[] = []
  const server = createServer({ keepAliveTimeout: idleMs }, (request, response) => {
    const chunks: Buffer[] = []
    const closed = new Promise<'finished' | 'broken'>((resolve) => {
      response.once('close', () => resolve(response.writableFinished ? 'finished' : 'broken'))
    })
    response.on('error', () => {})
    request.on('error', () => {})
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const bytes = Buffer.concat(chunks)
      const text = bytes.toString()
      const isJson = request.headers['content-type']?.startsWith('application/json') === true
      const call = {
        path: request.url ?? '',
        headers: request.headers,
        text,
        bytes: new Uint8Array(bytes),
        body: JSON.parse((isJson && text) || '{}') as Record<string, unknown>,
        closed,
      }
      calls.push(call)
      void behaviour(call, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    behave(next) {
      behaviour = next
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly [name: string]: unknown
}

const base = { id: 'chatcmpl-1', created: 1, model: 'vendor-model-2026' }

/** A whole answer, streamed word by word or not, as the request asks; usage if it is given and asked for. */
export function answerText(text: string, usage?: Usage): Behaviour {
  return (call, response) => {
    if (call.body['stream'] !== true) return json(response, 200, completion(text, usage))
    openStream(response)
    for (const event of eventsOf(text, usage)) response.write(`data: ${event}\n\n`)
    response.end('data: [DONE]\n\n')
  }
}

export function completion(text: string, usage?: Usage): Record<string, unknown> {
  const choices = [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }]
  return {
    ...base,
    object: 'chat.completion',
    choices,
    ...(usage && { usage: { ...usage, total_tokens: usage.prompt_tokens + usage.completion_tokens } }),
  }
}

/** The payloads of a streamed answer: the role, a word each, the finish reason, the usage. */
export function eventsOf(text: string, usage?: Usage): string[] {
  const words = text.split(/(?<= )/)
  const chunk = (delta: object, finish: string | null = null) =>
    JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })
  const events = [
    chunk({ role: 'assistant', content: '' }),
    ...words.map((content) => chunk({ content })),
    chunk({}, 'stop'),
  ]
  if (!usage) return events
  const counted = { ...usage, total_tokens: usage.prompt_tokens + usage.completion_tokens }
  return [...events, JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [], usage: counted })]
}

export function openStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}
