import { GatewayError } from '../core/errors.ts'
import type { Client } from '../ports.ts'

/** The caller's side of a call where requests and answers are Web objects. */
export function fetchClient(request: Request): { readonly client: Client; readonly response: Promise<Response> } {
  const { promise: response, resolve } = Promise.withResolvers<Response>()
  const gone = new Set<() => void>()
  const drained = new Set<() => void>()
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let isGone = false
  let isOver = false

  function leave(): void {
    if (isOver || isGone) return
    isGone = true
    for (const run of gone) run()
  }
  request.signal.addEventListener('abort', leave)

  const client: Client = {
    header: (name) => request.headers.get(name) ?? undefined,
    body: (limit) => readBody(request, limit),
    onGone: (run) => void gone.add(run),
    get gone() {
      return isGone
    },
    open(status, headers) {
      const body = new ReadableStream<Uint8Array>({
        start: (opened) => {
          controller = opened
        },
        pull: () => {
          for (const run of drained) run()
        },
        cancel: leave,
      })
      resolve(new Response(body, { status, headers }))
    },
    write(bytes) {
      if (isOver || isGone) return true
      controller?.enqueue(bytes)
      return (controller?.desiredSize ?? 0) > 0
    },
    onDrain: (run) => void drained.add(run),
    end(bytes) {
      if (isOver || isGone) return
      if (bytes) controller?.enqueue(bytes)
      isOver = true
      controller?.close()
    },
    destroy() {
      if (!isOver) controller?.error(new Error('The connection was broken off.'))
      leave()
    },
  }
  return { client, response }
}

async function readBody(request: Request, limit: number): Promise<Uint8Array> {
  const reader = request.body?.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const next = await reader?.read()
    if (!next || next.done) break
    size += next.value.length
    if (size > limit) {
      await reader?.cancel()
      throw new GatewayError('request_too_large', `The request body is larger than ${limit} bytes.`)
    }
    chunks.push(next.value)
  }
  const all = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}
