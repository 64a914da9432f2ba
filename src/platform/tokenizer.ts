import { Worker } from 'node:worker_threads'
import { FleetingMap } from '../core/fleeting.ts'
import { roughTokens } from '../core/pieces.ts'
import type { Log, Tokenizer } from '../ports.ts'
import { afterAwake, type AwakeTimer } from './awake-timer.ts'
import { tokenizerName } from './tokenizer-inline.ts'
import type { FromWorker, ToWorker } from './tokenizer-worker.ts'

/** UTF-16 units of text with the worker at one time, over all calls; what comes beyond it is estimated at once. */
const maxWaitingUnits = 32 * 1024 * 1024
/** The worker's heap; the encoder itself lies outside of it, in about 80 MB of WebAssembly memory. */
const maxHeapMegabytes = 256

export interface TokenizerOptions {
  /** The worker's program, where the bundle has it elsewhere. */
  readonly worker?: URL
  readonly log?: Log
  /** A count that takes longer is estimated. */
  readonly countMs?: number
  /** A worker that has work and says nothing for so long is replaced. It speaks after every few pieces. */
  readonly silentMs?: number
  /** Loading the encoder takes 0.2 to 1 s; beyond this limit the start has failed. */
  readonly startMs?: number
  /** From a worker's death to the next one, so that a text that kills workers cannot make us spend all time on it. */
  readonly restartMs?: number
}

const defaults = { countMs: 10_000, silentMs: 5_000, startMs: 30_000, restartMs: 500 }

/**
 * Counts tokens in a thread of its own, so that no text can block the event loop. Resolves when the encoder is loaded
 * and rejects if that fails. Counts never reject: where the worker is late, dead or closed they are estimates.
 */
export async function openTokenizer(options: TokenizerOptions = {}): Promise<Tokenizer> {
  const tokenizer = new ThreadTokenizer(options)
  await tokenizer.started
  return tokenizer
}

interface Waiting {
  readonly text: string | readonly string[]
  readonly units: number
  readonly resolve: (tokens: number) => void
  readonly timer: AwakeTimer
}

function estimate(text: string | readonly string[]): number {
  return typeof text === 'string' ? roughTokens(text) : text.reduce((sum, one) => sum + roughTokens(one), 0)
}

class ThreadTokenizer implements Tokenizer {
  readonly name = tokenizerName
  readonly started: Promise<void>
  readonly #limits: typeof defaults
  readonly #program: URL
  readonly #log: Log
  readonly #waiting = new FleetingMap<number, Waiting>()
  readonly #start = Promise.withResolvers<void>()
  #worker: Worker | undefined
  #loaded = false
  #everLoaded = false
  #texts: [id: number, text: string | readonly string[]][] = []
  #dropped: number[] = []
  #flushing = false
  #lastId = 0
  #waitingUnits = 0
  #watchdog: AwakeTimer | undefined
  #restart: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: TokenizerOptions) {
    const { worker, log, ...limits } = options
    this.#program = worker ?? new URL('./tokenizer-worker.ts', import.meta.url)
    this.#log = log ?? (() => {})
    this.#limits = { ...defaults, ...limits }
    this.started = this.#start.promise
    this.#spawn()
  }

  count(text: string): Promise<number> {
    return text === '' ? Promise.resolve(0) : this.#ask(text, text.length)
  }

  /** One message and one timer for all of them. */
  countAll(texts: readonly string[]): Promise<number> {
    const units = texts.reduce((sum, text) => sum + text.length, 0)
    return units === 0 ? Promise.resolve(0) : this.#ask(texts, units)
  }

  #ask(text: string | readonly string[], units: number): Promise<number> {
    const fits = this.#waitingUnits + units <= maxWaitingUnits
    if (!this.#worker || !fits) return Promise.resolve(estimate(text))
    const id = ++this.#lastId
    this.#waitingUnits += units
    this.#texts.push([id, text])
    this.#flushSoon()
    return new Promise((resolve) => {
      // This timer holds the process until the count is there; the worker alone does not.
      const timer = afterAwake(this.#limits.countMs, () => this.#giveUp(id), { holds: true })
      this.#waiting.set(id, { text, units, resolve, timer })
      if (this.#loaded && !this.#watchdog) this.#watch(this.#limits.silentMs)
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#restart)
    this.#start.reject(new Error('the tokenizer was closed before it had started'))
    await this.#drop()
  }

  /** All texts of one turn of the event loop travel in one message. */
  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      const message: ToWorker = { texts: this.#texts, dropped: this.#dropped }
      this.#texts = []
      this.#dropped = []
      this.#worker?.postMessage(message)
    })
  }

  #spawn(): void {
    // No secrets in its environment, no flags of the parent: it only computes.
    const worker = new Worker(this.#program, {
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMegabytes },
    })
    this.#worker = worker
    this.#loaded = false
    this.#watch(this.#limits.startMs)
    worker.on('message', (message: FromWorker) => {
      if (worker === this.#worker) this.#hear(message)
    })
    worker.on('error', (error: Error) => this.#lose(worker, error.message))
    worker.on('exit', (code) => this.#lose(worker, `exit ${code}`))
  }

  #hear(message: FromWorker): void {
    if (message === 'ready') {
      this.#loaded = true
      this.#everLoaded = true
      this.#worker?.unref()
      this.#start.resolve()
    } else for (const [id, tokens] of message) this.#finish(id, tokens)
    if (this.#waiting.size > 0) this.#watch(this.#limits.silentMs)
    else this.#unwatch()
  }

  #finish(id: number, tokens: number): void {
    const waiting = this.#waiting.get(id)
    if (!waiting) return
    this.#waiting.delete(id)
    this.#waitingUnits -= waiting.units
    waiting.timer.stop()
    waiting.resolve(tokens)
  }

  #giveUp(id: number): void {
    const waiting = this.#waiting.get(id)
    if (!waiting) return
    this.#finish(id, estimate(waiting.text))
    this.#dropped.push(id)
    this.#flushSoon()
  }

  /** Replaces a worker that died or hangs. */
  #lose(worker: Worker, reason: string): void {
    if (worker !== this.#worker || this.#closed) return
    void this.#drop()
    this.#log('tokenizer_lost', { reason })
    if (this.#everLoaded) this.#restart = setTimeout(() => this.#spawn(), this.#limits.restartMs).unref()
    else this.#start.reject(new Error(`the tokenizer did not start: ${reason}`))
  }

  /** Ends the worker; whoever waits for it gets an estimate. */
  async #drop(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    this.#unwatch()
    this.#texts = []
    this.#dropped = []
    for (const [id, waiting] of this.#waiting) this.#finish(id, estimate(waiting.text))
    await worker?.terminate()
  }

  #watch(limitMs: number): void {
    this.#unwatch()
    const worker = this.#worker
    const silent = () => {
      if (worker) this.#lose(worker, `silent for ${limitMs} ms`)
    }
    this.#watchdog = afterAwake(limitMs, silent, { holds: false })
  }

  #unwatch(): void {
    this.#watchdog?.stop()
    this.#watchdog = undefined
  }
}
