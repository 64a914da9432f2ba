import { Duplex } from 'node:stream'
import { Worker } from 'node:worker_threads'
import type { FromThread, ThreadSetup, ToThread } from './pglite-thread.ts'

/** A connection to the embedded database, which speaks PostgreSQL's wire protocol. */
export interface PgliteConnection {
  /** Takes bytes at once. It ends with its thread, and the thread with it. */
  readonly socket: Duplex
  /** Resolves when the database is open; rejects where it cannot be. */
  readonly ready: Promise<void>
  /** Resolves when the thread has ended, in whatever way: from then on another one may have the folder. */
  readonly over: Promise<void>
}

/** Starts the embedded database in a thread of its own. */
export function startPglite(setup: ThreadSetup): PgliteConnection {
  const worker = new Worker(new URL('./pglite-thread.ts', import.meta.url), {
    workerData: setup,
    execArgv: [],
    env: {},
  })
  const started = Promise.withResolvers<void>()
  const over = Promise.withResolvers<void>()
  const socket = new ThreadSocket(worker)
  worker.on('message', (message: FromThread) => {
    if (message === 'ready') started.resolve()
    else socket.push(message)
  })
  worker.on('error', (error: Error) => {
    started.reject(error)
    // Where nobody uses the connection yet, nobody hears of its error but who waits for the start.
    socket.destroy(socket.listenerCount('error') > 0 ? error : undefined)
  })
  worker.once('exit', (code) => {
    started.reject(new Error(`the thread of the embedded database ended with ${code}`))
    socket.destroy()
    over.resolve()
  })
  started.promise.catch(() => {})
  return { socket, ready: started.promise, over: over.promise }
}

class ThreadSocket extends Duplex {
  readonly #worker: Worker
  #isOver = false

  constructor(worker: Worker) {
    super({ allowHalfOpen: false })
    this.#worker = worker
    worker.once('exit', () => {
      this.#isOver = true
    })
  }

  /** As `net.Socket` says it: the driver says goodbye only where it is `open`. */
  get readyState(): 'open' | 'closed' {
    return this.destroyed ? 'closed' : 'open'
  }

  /** What the thread says comes without being asked for. */
  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // A copy of its own: the driver's buffer may share its memory with others.
    const bytes = new Uint8Array(chunk)
    this.#worker.postMessage(bytes satisfies ToThread, [bytes.buffer])
    done()
  }

  override _final(done: () => void): void {
    this.#worker.once('exit', () => done())
    this.#worker.postMessage('close' satisfies ToThread)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.#isOver) return done(error)
    this.#worker.once('exit', () => done(error))
    void this.#worker.terminate()
  }
}
