import type { Random } from '../core/draw.ts'
import type { Clock, Log, Send } from '../ports.ts'

/** What an operator should hear of at once. It holds no secret. */
export interface Alert {
  readonly event: string
  /** One sentence for a person. */
  readonly text: string
  readonly fields: Readonly<Record<string, string | number | boolean>>
}

export interface WebhookOptions {
  readonly url: string
  /** Sent as it is in the header of this name; absent: nothing. */
  readonly authorization?: string
  readonly send: Send
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Names this process in what is sent. */
  readonly replica: string
}

export interface Webhook {
  /** Puts an alert behind those that wait; where too many do, the oldest is dropped. Never throws. */
  tell(alert: Alert): void
  /** Sends nothing more. */
  close(): void
}

/** Alerts that wait for their turn. */
const queueLimit = 100
/** Tries of one alert, and the pause after the first; it doubles, and a random half of it is left out. */
const tries = 6
const firstPauseMs = 1_000
const longestPauseMs = 60_000
/** For one try, from the connection to the end of the answer. */
const tryMs = 5_000
const encoder = new TextEncoder()

interface State extends WebhookOptions {
  readonly queue: { readonly body: Uint8Array; readonly event: string }[]
  isSending: boolean
  isClosed: boolean
}

/** Posts alerts to an address, one after the other, each as one JSON object. */
export function openWebhook(options: WebhookOptions): Webhook {
  const state: State = { ...options, queue: [], isSending: false, isClosed: false }
  return {
    tell({ event, text, fields }) {
      const at = new Date(options.clock.now()).toISOString()
      const body = encoder.encode(JSON.stringify({ event, text, at, replica: options.replica, ...fields }))
      state.queue.push({ body, event })
      if (state.queue.length > queueLimit) lost(state, 'too many wait')
      if (!state.isSending) void sendAll(state)
    },
    close() {
      state.isClosed = true
      state.queue.length = 0
    },
  }
}

/** The oldest is given up. */
function lost({ queue, log }: State, why: string): void {
  const alert = queue.shift()
  if (alert) log('alert_lost', { alert: alert.event, error: why })
}

async function sendAll(state: State): Promise<void> {
  state.isSending = true
  for (;;) {
    const [next] = state.queue
    if (!next || state.isClosed) break
    const why = await sendOne(state, next.body)
    // Meanwhile it may have been dropped for a newer one.
    if (state.queue[0] !== next) continue
    if (why === undefined) state.queue.shift()
    else lost(state, why)
  }
  state.isSending = false
}

/** Undefined once it was taken; else why the last try failed. */
async function sendOne(state: State, body: Uint8Array): Promise<string | undefined> {
  let why: string | undefined
  for (let round = 0; round < tries && !state.isClosed; round++) {
    if (round > 0) await pause(state, Math.min(longestPauseMs, firstPauseMs * 2 ** (round - 1)))
    why = await post(state, body)
    if (why === undefined) return undefined
  }
  return why ?? 'closed'
}

function pause({ clock, random }: State, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms / 2 + (random() * ms) / 2, resolve))
}

function post({ url, authorization, send, clock }: State, body: Uint8Array): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const headers = { 'content-type': 'application/json', ...(authorization !== undefined && { authorization }) }
  try {
    const sending = send(
      { method: 'POST', url, headers, body, connectMs: tryMs },
      {
        // What it says beside its status is nothing to us.
        head: ({ status }) => resolve(status >= 200 && status < 300 ? undefined : `status ${status}`),
        data() {},
        end: () => stop(),
        fail() {
          stop()
          resolve('the connection failed')
        },
      },
    )
    const stop = clock.after(tryMs, () => {
      resolve(`no answer in ${tryMs} ms`)
      sending.abort()
    })
  } catch {
    // An address or a header that the transport does not take.
    resolve('it cannot be sent')
  }
  return promise
}
