import type { Clock, Receiver, Sending, VendorHead } from '../ports.ts'

/** An answer as it will go over the wire that is not there. */
export interface Script {
  readonly head: VendorHead
  /** From the request to the head. */
  readonly latencyMs: number
  /** Between two frames. */
  readonly eventMs: number
  readonly frames: Iterable<Uint8Array>
  /** How it ends after the last frame: as it should, by a broken connection, or never. */
  readonly ending: 'end' | 'break' | 'silence'
}

/** Frames without a pause between them that go out before others get a turn. */
const burst = 32

/**
 * Plays the script that `write` comes up with. Nothing is told before this returns, nor after an abort or the end;
 * while paused, nothing at all.
 */
export function play(clock: Clock, receiver: Receiver, write: () => Promise<Script>): Sending {
  const player = new Player(clock, receiver)
  player.wait(
    0,
    () =>
      void write().then(
        (script) => player.start(script),
        (error: unknown) => player.break(error),
      ),
  )
  return player
}

class Player implements Sending {
  readonly #clock: Clock
  readonly #receiver: Receiver
  #stopTimer: (() => void) | undefined
  /** What to do next, while paused. */
  #waiting: (() => void) | undefined
  #paused = false
  #over = false

  constructor(clock: Clock, receiver: Receiver) {
    this.#clock = clock
    this.#receiver = receiver
  }

  start(script: Script): void {
    const frames = script.frames[Symbol.iterator]()
    this.wait(script.latencyMs, () => {
      this.#receiver.head(script.head)
      this.#step(() => this.#send(script, frames))
    })
  }

  /** Runs `next` after `ms`, or when it is no longer paused, or never if it is over by then. */
  wait(ms: number, next: () => void): void {
    if (this.#over) return
    this.#stopTimer = this.#clock.after(ms, () => this.#step(next))
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    const next = this.#waiting
    this.#waiting = undefined
    // Not within the call: whoever resumes may not expect data before it returns.
    if (next) this.wait(0, next)
  }

  abort(): void {
    this.break(new Error('The request was aborted.'))
  }

  break(cause: unknown): void {
    if (this.#over) return
    this.#finish()
    this.#receiver.fail(cause instanceof Error ? cause : new Error('The sandbox failed.', { cause }))
  }

  #step(next: () => void): void {
    if (this.#over) return
    if (this.#paused) this.#waiting = next
    else next()
  }

  #send(script: Script, frames: Iterator<Uint8Array>): void {
    for (let sent = 0; sent < burst && !this.#over && !this.#paused; sent++) {
      const { done, value } = frames.next()
      if (done) return this.#close(script)
      this.#receiver.data(value)
      if (script.eventMs > 0) break
    }
    this.wait(script.eventMs, () => this.#send(script, frames))
  }

  #close({ ending }: Script): void {
    if (ending === 'silence') return
    if (ending === 'break') return this.break(new Error('The connection was broken by the sandbox.'))
    this.#finish()
    this.#receiver.end()
  }

  #finish(): void {
    this.#over = true
    this.#waiting = undefined
    this.#stopTimer?.()
  }
}
