import type { Send } from '../ports.ts'

/** Send over the platform's own fetch, for where there are no sockets to hold. */
export const fetchSend: Send = (request, receiver) => {
  const abort = new AbortController()
  let isOver = false
  let resume: (() => void) | undefined
  let paused: Promise<void> | undefined

  async function run(): Promise<void> {
    const { method, headers, body, url } = request
    const response = await fetch(url, { method, headers, body: body.slice(), signal: abort.signal, redirect: 'manual' })
    if (isOver) return
    receiver.head({ status: response.status, headers: Object.fromEntries(response.headers) })
    const reader = response.body?.getReader()
    for (;;) {
      if (paused) await paused
      const next = await reader?.read()
      if (isOver) return
      if (!next || next.done) break
      receiver.data(next.value)
    }
    isOver = true
    receiver.end()
  }

  void run().catch((error: unknown) => {
    if (isOver) return
    isOver = true
    receiver.fail(error instanceof Error ? error : new Error(String(error)))
  })
  return {
    pause() {
      paused ??= new Promise((resolve) => {
        resume = resolve
      })
    },
    resume() {
      resume?.()
      paused = undefined
    },
    abort() {
      isOver = true
      abort.abort()
    },
  }
}
