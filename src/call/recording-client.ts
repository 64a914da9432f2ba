import { ByteStore } from '../core/byte-store.ts'
import type { Client } from '../ports.ts'

/** An answer as a caller got it, byte for byte. */
export interface SentAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Undefined where it was too long to be kept, or broke off: then it cannot be sent again. */
  readonly bytes: Uint8Array | undefined
}

/** Longer answers are not kept. */
const maxSentBytes = 4 * 1024 * 1024

/** A caller of whose answer a copy is made. */
export interface RecordingClient {
  readonly client: Client
  /** What was sent; undefined where nothing was. */
  sent(): SentAnswer | undefined
}

/**
 * Stands between a call and its caller and writes the answer down. The call never hears that the caller has left: its
 * answer is for whoever asks again.
 */
export function recordingClient(caller: Client): RecordingClient {
  const store = new ByteStore()
  let head: Pick<SentAnswer, 'status' | 'headers'> | undefined
  let isWhole = false
  let isTooLong = false

  function note(bytes: Uint8Array): void {
    if (store.size + bytes.length > maxSentBytes) isTooLong = true
    else if (!isTooLong) store.append(bytes)
  }

  const client: Client = {
    header: caller.header,
    body: caller.body,
    onGone() {},
    gone: false,
    isEarly: () => caller.isEarly?.() === true,
    open(status, headers) {
      head = { status, headers }
      if (!caller.gone) caller.open(status, headers)
    },
    write(bytes) {
      note(bytes)
      if (caller.gone) return true
      // What is kept anyway need not wait for a caller who is slow, or who has gone to sleep.
      return caller.write(bytes) || !isTooLong
    },
    onDrain(run) {
      caller.onDrain(run)
      // Who has left reads nothing more, and the rest need not wait for him.
      caller.onGone(run)
    },
    end(bytes) {
      if (bytes) note(bytes)
      isWhole = true
      if (!caller.gone) caller.end(bytes)
    },
    destroy: () => caller.destroy(),
  }
  return {
    client,
    sent: () => head && { ...head, bytes: isWhole && !isTooLong ? store.take() : undefined },
  }
}
