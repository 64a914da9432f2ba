/** What a caller of a stream has heard so far. */
export interface Heard {
  status: number
  /** The name of the call, as the answer's head gave it. */
  id: string
  /** The text of all deltas. */
  text: string
  /** The code of an error frame. */
  error: string | undefined
  /** `[DONE]` came. */
  done: boolean
}

export interface StreamedCall {
  readonly heard: Heard
  /** The connection is over, in whatever way. Never rejects. */
  readonly over: Promise<Heard>
}

export interface Asked {
  readonly url: string
  readonly key: string
  readonly body: Readonly<Record<string, unknown>>
  readonly signal?: AbortSignal
}

/** Calls a model with a stream and notes what comes, as a caller would who keeps accounts of his own. */
export function streamCall(asked: Asked): StreamedCall {
  const heard: Heard = { status: 0, id: '', text: '', error: undefined, done: false }
  return { heard, over: listen(asked, heard).catch(() => heard) }
}

async function listen({ url, key, body, signal }: Asked, heard: Heard): Promise<Heard> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ stream: true, ...body }),
    ...(signal && { signal }),
  })
  heard.status = answer.status
  heard.id = answer.headers.get('x-request-id') ?? ''
  const decoder = new TextDecoder()
  let pending = ''
  for await (const chunk of answer.body ?? []) {
    const lines = (pending + decoder.decode(chunk, { stream: true })).split('\n')
    pending = lines.pop() ?? ''
    for (const line of lines) hear(line, heard)
  }
  return heard
}

interface Event {
  readonly choices?: readonly { readonly delta?: { readonly content?: string } }[]
  readonly error?: { readonly code: string }
}

function hear(line: string, heard: Heard): void {
  if (!line.startsWith('data: ')) return
  if (line === 'data: [DONE]') {
    heard.done = true
    return
  }
  const { choices, error } = JSON.parse(line.slice('data: '.length)) as Event
  heard.text += choices?.[0]?.delta?.content ?? ''
  heard.error = error?.code ?? heard.error
}
