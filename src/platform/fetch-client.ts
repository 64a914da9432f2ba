import { concat } from '../core/concat.ts'
import { GatewayError } from '../core/errors.ts'
import type { Client } from '../ports.ts'

/** A body must be here by then; slow uploads of the largest body fit. */
const bodyMs = 120_000
/** What logs of other servers say of a caller who left. */
const goneStatus = 499

/** The caller's side of a call where requests and answers are Web objects. */
export function fetchClient(request: Request): { readonly client: Client; readonly response: Promise<Response> } {
  const { promise: response, resolve } = Promise.withResolvers<Response>()
  const gone = new Set<() => void>()
  const drained = new Set<() => void>()
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let isOver = false

  function leave(): void {
    if (isOver || client.gone) return
    client.gone = true
    // Nobody reads it, but a platform takes a request without an answer for one that hangs.
    resolve(new Response(null, { status: goneStatus }))
    for (const run of gone) run()
  }
  request.signal.addEventListener('abort', leave)

  const client: Client & { gone: boolean } = {
    header: (name) => request.headers.get(name) ?? undefined,
    body: (limit) => readBody(request, limit),
    onGone: (run) => void gone.add(run),
    gone: false,
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
      if (isOver || client.gone) return true
      controller?.enqueue(bytes)
      return (controller?.desiredSize ?? 0) > 0
    },
    onDrain: (run) => void drained.add(run),
    end(bytes) {
      if (isOver || client.gone) return
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
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw tooLarge(limit)
  const reader = request.body?.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    void reader?.cancel()
  }, bodyMs)
  try {
    for (;;) {
      const next = await reader?.read()
      if (!next || next.done) break
      size += next.value.length
      if (size > limit) break
      chunks.push(next.value)
    }
  } catch (cause) {
    throw new GatewayError('invalid_value', 'The connection closed before the whole body had come.', { cause })
  } finally {
    clearTimeout(timer)
  }
  if (size > limit) {
    await reader?.cancel()
    throw tooLarge(limit)
  }
  if (isLate) throw new GatewayError('request_timeout', 'The request body did not come in time.')
  return concat(chunks)
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError('request_too_large', `The request body is larger than ${limit} bytes.`)
}
