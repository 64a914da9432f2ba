import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '../../src/core/call.ts'

/** A request larger than this is no recording of ours. */
const maxRequestBytes = 64 * 1024 * 1024

/** What the vendor says to the next request. */
export interface RecordedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Each one is an HTTP chunk of its own. */
  readonly pieces: readonly Uint8Array[]
  /** Lets the event loop turn between two pieces, so that they also leave in packets of their own. */
  readonly isSlow: boolean
}

export interface ReceivedRequest {
  readonly path: string
  /** What came as the key, in whichever header vendors take it. */
  readonly key: string | undefined
  readonly body: JsonObject
}

/** A vendor on loopback that repeats what was recorded. It serves one request at a time. */
export interface RecordedVendor {
  /** Base URL of its API, without a trailing slash. */
  readonly url: string
  /** Answers every request like this from now on. */
  play(answer: RecordedAnswer): void
  /** Requests since this was last asked. */
  received(): readonly ReceivedRequest[]
  close(): Promise<void>
}

/** Said by Node for this connection, which is not the one that was recorded. */
const ownHeaders: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'content-length',
  'content-encoding',
  'connection',
  'keep-alive',
])

export async function startRecordedVendor(): Promise<RecordedVendor> {
  let answer: RecordedAnswer = { status: 500, headers: {}, pieces: [], isSlow: false }
  let requests: ReceivedRequest[] = []
  const server = createServer((request, response) => {
    response.on('error', () => response.destroy())
    void serve(request, response).catch(() => response.destroy())
  })
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bytes = await bodyOf(request)
    const { url = '', headers } = request
    requests.push({
      path: url,
      key: keyIn(headers),
      // A form is looked at elsewhere.
      body: bytes[0] === 0x7b ? (JSON.parse(bytes.toString('utf8')) as JsonObject) : {},
    })
    await send(response, answer)
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    play(next) {
      answer = next
    },
    received() {
      const since = requests
      requests = []
      return since
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const keyHeaders = ['x-api-key', 'api-key', 'x-goog-api-key'] as const

function keyIn(headers: IncomingMessage['headers']): string | undefined {
  const [own] = keyHeaders.map((name) => headers[name]).filter((value) => typeof value === 'string')
  return own ?? headers.authorization?.replace(/^Bearer /, '')
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxRequestBytes) throw new Error('The request is too large.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function send(response: ServerResponse, { status, headers, pieces, isSlow }: RecordedAnswer): Promise<void> {
  const kept = Object.entries(headers).filter(([name]) => !ownHeaders.has(name.toLowerCase()))
  response.socket?.setNoDelay(true)
  response.writeHead(status, { ...Object.fromEntries(kept), 'transfer-encoding': 'chunked' })
  for (const [at, piece] of pieces.entries()) {
    if (isSlow && at > 0) await new Promise((resolve) => setImmediate(resolve))
    if (response.destroyed) return
    response.write(piece)
  }
  response.end()
}
