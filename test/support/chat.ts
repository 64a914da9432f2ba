import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import type { TestGateway } from './gateway.ts'

export interface ChatError {
  readonly message: string
  readonly type: string
  readonly code: string
  readonly param: string | null
}

/** A whole answer as bytes and what a plain reader makes of it, streamed or not. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The `x-request-id`. */
  readonly id: string
  readonly raw: string
  /** The payloads of the stream's events; of an answer that is none, its body. */
  readonly payloads: readonly string[]
  readonly text: string
  readonly finish: string | undefined
  readonly error: ChatError | undefined
  /** The cost as the answer tells it, in its header or its last usage event. */
  readonly cost: string | undefined
  /** The stream has its closing event. */
  readonly isDone: boolean
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: { content?: string }
    readonly message?: { content?: string }
    readonly finish_reason?: string | null
  }[]
  readonly usage?: { readonly cost?: number } | null
  readonly error?: ChatError
}

/** Asks for a chat completion over a plain request and reads the answer to its end. A stream is asked for its usage. */
export async function chatWith({ url }: TestGateway, key: string, body: Record<string, unknown>): Promise<Answer> {
  const options = body['stream'] === true ? { stream_options: { include_usage: true } } : {}
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...options, ...body }),
  })
  return read(response, await response.text())
}

function read({ status, headers }: Response, raw: string): Answer {
  const isStream = (headers.get('content-type') ?? '').includes('text/event-stream')
  const payloads = isStream ? [...raw.matchAll(/^data: (.*)$/gm)].map((match) => match[1] ?? '') : [raw]
  const chunks = payloads.filter((payload) => payload.startsWith('{')).map((payload) => JSON.parse(payload) as Chunk)
  const choices = chunks.flatMap((chunk) => chunk.choices ?? [])
  const cost = chunks.find(({ usage }) => usage?.cost !== undefined)?.usage?.cost
  return {
    status,
    headers,
    id: headers.get('x-request-id') ?? '',
    raw,
    payloads,
    text: choices.map(({ delta, message }) => (delta ?? message)?.content ?? '').join(''),
    finish: choices.findLast(({ finish_reason: finish }) => typeof finish === 'string')?.finish_reason ?? undefined,
    error: chunks.find(({ error }) => error)?.error,
    cost: headers.get('x-tollgate-cost') ?? (cost === undefined ? undefined : String(cost)),
    isDone: payloads.at(-1) === '[DONE]',
  }
}

/** A call whose connection is in the test's hands. */
export interface OpenChat {
  /** Reads until the text has come; throws if the answer ends before. */
  readUntil(text: string): Promise<string>
  /** Resolves when the head has come; nothing is read beyond what the sockets buffer. */
  readonly head: Promise<IncomingMessage>
  /** Resolves when the whole request is with the operating system. */
  readonly sent: Promise<void>
  /** Breaks the connection, and resolves when it is closed on this side. */
  hangUp(): Promise<void>
}

/** Starts a call on a connection of its own. */
export function openChat({ url }: TestGateway, key: string, body: Record<string, unknown>): OpenChat {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const asked: ClientRequest = request(`${url}/v1/chat/completions`, { method: 'POST', agent: false, headers })
  const head = new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve)
    asked.on('error', reject)
  })
  // Whoever hangs up does not care how the request fails.
  head.catch(() => {})
  const sent = new Promise<void>((resolve) => asked.end(JSON.stringify(body), () => resolve()))
  return {
    head,
    sent,
    async hangUp() {
      if (asked.closed) return
      const closed = new Promise<void>((resolve) => asked.once('close', resolve))
      asked.destroy()
      await closed
    },
    async readUntil(text) {
      let seen = ''
      const response = await head
      for await (const chunk of response.iterator({ destroyOnReturn: false })) {
        seen += String(chunk)
        if (seen.includes(text)) return seen
      }
      throw new Error(`the answer ended without ${text}`)
    },
  }
}
