import { request, type IncomingMessage } from 'node:http'

export interface Saying {
  readonly url: string
  readonly key: string
  readonly body: Readonly<Record<string, unknown>>
  /** The caller's own name of the call, for the `x-request-id`. */
  readonly name?: string
  /** Hangs up once this many bytes of the answer have come. */
  readonly hangUpAfter?: number
  /** The clock that arrivals are timed with. */
  readonly now?: () => number
}

/**
 * How a call ended for its caller: whole; with an error in place of an answer; with an error in mid-stream; with a
 * connection that broke; or by hanging up himself.
 */
export type Parting = 'whole' | 'refused' | 'failed' | 'broken' | 'hung_up'

/** All that a caller knows of a call. */
export interface Conversation {
  readonly parting: Parting
  /** 0 where no answer began. */
  readonly status: number
  /** The gateway's name of the call; empty where none came. */
  readonly id: string
  readonly text: string
  /** When the text had which length, in order. */
  readonly arrivals: readonly { readonly atMs: number; readonly length: number }[]
  /** The code of an error, in place of an answer or in the stream. */
  readonly code: string | undefined
  /** What the vendor counted, as the answer told it. */
  readonly usage: { readonly prompt: number; readonly completion: number } | undefined
}

/** What a caller has heard so far. */
interface Heard {
  status: number
  id: string
  text: string
  arrivals: { atMs: number; length: number }[]
  code: string | undefined
  usage: Conversation['usage']
  isWhole: boolean
  bytes: number
}

/** One call on a connection of its own, heard to whatever end it comes to. Never rejects. */
export function converse(saying: Saying): Promise<Conversation> {
  const heard: Heard = {
    status: 0,
    id: '',
    text: '',
    arrivals: [],
    code: undefined,
    usage: undefined,
    isWhole: false,
    bytes: 0,
  }
  const { url, key, body, name, hangUpAfter = Number.POSITIVE_INFINITY } = saying
  return new Promise((resolve) => {
    let isOver = false
    const over = (hungUp: boolean) => {
      if (isOver) return
      isOver = true
      resolve(conversation(heard, hungUp))
    }
    const asked = request(`${url}/v1/chat/completions`, {
      method: 'POST',
      agent: false,
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        ...(name !== undefined && { 'x-request-id': name }),
      },
    })
    asked.on('error', () => over(false))
    asked.on('response', (answer) => {
      const { take, end } = listener(saying, heard, answer)
      answer.setEncoding('utf8')
      answer.on('data', (text: string) => {
        if (isOver) return
        take(text)
        if (heard.bytes < hangUpAfter) return
        asked.destroy()
        over(true)
      })
      answer.on('end', end)
      // Also after an answer that broke off.
      answer.on('close', () => over(false))
      answer.on('error', () => over(false))
    })
    asked.end(
      JSON.stringify({ stream_options: body['stream'] === true ? { include_usage: true } : undefined, ...body }),
    )
  })
}

function conversation({ isWhole, bytes: _, ...heard }: Heard, hungUp: boolean): Conversation {
  return { ...heard, parting: partingOf({ ...heard, isWhole }, hungUp) }
}

function partingOf({ isWhole, status, code }: Pick<Heard, 'isWhole' | 'status' | 'code'>, hungUp: boolean): Parting {
  if (isWhole) return 'whole'
  if (hungUp) return 'hung_up'
  if (code === undefined) return 'broken'
  return status === 200 ? 'failed' : 'refused'
}

interface Body {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string }
    readonly message?: { readonly content?: string }
  }[]
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null
  readonly error?: { readonly code: string }
}

/** Reads an answer piece by piece, a stream or one body. */
function listener({ now = () => performance.now() }: Saying, heard: Heard, answer: IncomingMessage) {
  heard.status = answer.statusCode ?? 0
  heard.id = String(answer.headers['x-request-id'] ?? '')
  const isStream = (answer.headers['content-type'] ?? '').includes('text/event-stream')
  let pending = ''
  return {
    take(text: string): void {
      heard.bytes += Buffer.byteLength(text)
      pending += text
      if (!isStream) return
      const lines = pending.split('\n')
      pending = lines.pop() ?? ''
      for (const line of lines) hearLine(line, heard)
      heard.arrivals.push({ atMs: now(), length: heard.text.length })
    },
    /** The answer is here to its last byte. */
    end(): void {
      if (isStream) return
      hear(JSON.parse(pending) as Body, heard)
      heard.isWhole = heard.code === undefined
    },
  }
}

function hearLine(line: string, heard: Heard): void {
  if (line === 'data: [DONE]') heard.isWhole = true
  else if (line.startsWith('data: ')) hear(JSON.parse(line.slice('data: '.length)) as Body, heard)
}

function hear({ choices, usage, error }: Body, heard: Heard): void {
  const [choice] = choices ?? []
  heard.text += (choice?.delta ?? choice?.message)?.content ?? ''
  if (usage) heard.usage = { prompt: usage.prompt_tokens, completion: usage.completion_tokens }
  heard.code = error?.code ?? heard.code
}
