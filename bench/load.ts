import { connect, type Socket } from 'node:net'
import { AnswerReader } from './contest/answer-reader.ts'
import { type Figures, type Order, type OrderDone, percentiles } from './contest/order.ts'
import { machineUs } from './contest/wire.ts'

/*
 * A load generator over plain sockets, told by its parent what to send and asked for figures: a process of its own, so
 * that it stays compiled from one run to the next.
 */

/** An answer that is not whole by then counts as broken. */
const answerMs = 60_000
const mostSamples = 2_000_000
const mostFaults = 5
const faultText = 300

interface Counted {
  calls: number
  inputTokens: number
  outputTokens: number
  failed: number
  readonly faults: string[]
  readonly latencyUs: number[]
  readonly firstUs: number[]
  readonly delayUs: number[]
}

const usage = /"prompt_tokens":(\d{1,9}),"completion_tokens":(\d{1,9})/

/** One connection, on which calls follow one another. */
class Caller {
  readonly #request: Buffer
  readonly #order: Order
  readonly #counted: Counted
  readonly #reader = new AnswerReader()
  #socket: Socket
  #sentUs = 0
  #isFirst = false
  #ended: (() => void) | undefined
  #late: NodeJS.Timeout | undefined

  constructor(order: Order, request: Buffer, counted: Counted) {
    this.#order = order
    this.#request = request
    this.#counted = counted
    this.#socket = this.#open()
  }

  /** Makes one call; resolves when its answer is whole, or will never be. */
  call(dueUs = machineUs()): Promise<void> {
    if (this.#socket.destroyed) this.#socket = this.#open()
    this.#reader.reset()
    this.#sentUs = dueUs
    this.#isFirst = true
    this.#late = setTimeout(() => this.#socket.destroy(new Error(`no whole answer in ${answerMs} ms`)), answerMs)
    this.#socket.write(this.#request)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = resolve
    return promise
  }

  close(): void {
    this.#socket.destroy()
  }

  #open(): Socket {
    const socket = connect({ host: '127.0.0.1', port: this.#order.port, noDelay: true })
    // What an earlier connection still has to say is not about the call of this one.
    const fail = (why: string) => {
      if (socket === this.#socket) this.#fail(why)
    }
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => fail(String(error)))
    socket.on('close', () => fail('the connection was closed'))
    return socket
  }

  #read(chunk: Buffer): void {
    if (!this.#ended) return
    const reader = this.#reader
    const { firstUs, delayUs } = this.#counted
    try {
      const isWhole = reader.feed(chunk)
      if (this.#isFirst && reader.hasBody) {
        this.#isFirst = false
        keep(firstUs, machineUs() - this.#sentUs)
      }
      if (reader.stampUs > 0) keep(delayUs, machineUs() - reader.stampUs)
      if (isWhole) this.#finish()
    } catch (error) {
      this.#fail(String(error))
      this.#socket.destroy()
    }
  }

  #finish(): void {
    const tail = this.#reader.tail()
    const found = usage.exec(tail)
    if (this.#reader.status !== 200 || !found || (this.#order.isStream && !tail.includes('data: [DONE]')))
      return this.#fail(`${this.#reader.status} ${tail.slice(-faultText)}`)
    const counted = this.#counted
    keep(counted.latencyUs, machineUs() - this.#sentUs)
    counted.calls++
    counted.inputTokens += Number(found[1])
    counted.outputTokens += Number(found[2])
    this.#end()
  }

  #fail(why: string): void {
    if (!this.#ended) return
    this.#counted.failed++
    if (this.#counted.faults.length < mostFaults) this.#counted.faults.push(why)
    this.#end()
  }

  #end(): void {
    clearTimeout(this.#late)
    const ended = this.#ended
    this.#ended = undefined
    ended?.()
  }
}

function keep(samples: number[], us: number): void {
  if (samples.length < mostSamples) samples.push(us)
}

/** Each connection makes call after call until the time is over, and begins a little after the one before it. */
async function closedLoop(callers: readonly Caller[], order: Order): Promise<void> {
  const from = machineUs()
  const untilUs = from + order.durationMs * 1_000
  await Promise.all(
    callers.map(async (caller, at) => {
      if (order.staggerMs > 0) await new Promise((resolve) => setTimeout(resolve, at * order.staggerMs))
      for (let made = 0; made < order.callsEach && (made === 0 || machineUs() < untilUs); made++) await caller.call()
    }),
  )
}

const tickMs = 1

/** Calls at a fixed rate. One that finds no free connection waits, and its time counts from when it was due. */
async function openLoop(callers: readonly Caller[], order: Order): Promise<void> {
  const free = [...callers]
  const waiting: number[] = []
  const everyUs = 1_000_000 / order.rate
  const { promise, resolve } = Promise.withResolvers<void>()
  const from = machineUs()
  let started = 0
  const mayEnd = () => machineUs() - from >= order.durationMs * 1_000 && free.length === callers.length
  const send = async (caller: Caller, dueUs: number): Promise<void> => {
    await caller.call(dueUs)
    const next = waiting.shift()
    if (next === undefined) free.push(caller)
    else void send(caller, next)
  }
  const ticking = setInterval(() => {
    const now = machineUs()
    const due = Math.min(Math.floor((now - from) / everyUs) + 1, Math.ceil((order.durationMs * 1_000) / everyUs))
    for (; started < due; started++) {
      const caller = free.pop()
      if (caller) void send(caller, now)
      else waiting.push(now)
    }
    if (!mayEnd()) return
    clearInterval(ticking)
    resolve()
  }, tickMs)
  await promise
}

function requestOf({ port, headers, body }: Order): Buffer {
  const length = Buffer.byteLength(body)
  const lines = [
    'POST /v1/chat/completions HTTP/1.1',
    `host: 127.0.0.1:${port}`,
    'content-type: application/json',
    'accept: application/json',
    'user-agent: OpenAI/JS 7.0.0',
    'x-stainless-lang: js',
    'x-stainless-package-version: 7.0.0',
    'x-stainless-os: Linux',
    'x-stainless-arch: x64',
    'x-stainless-runtime: node',
    'x-stainless-retry-count: 0',
    ...headers,
    `content-length: ${length}`,
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

async function run(order: Order): Promise<Figures> {
  const counted: Counted = {
    calls: 0,
    inputTokens: 0,
    outputTokens: 0,
    failed: 0,
    faults: [],
    latencyUs: [],
    firstUs: [],
    delayUs: [],
  }
  const request = requestOf(order)
  const callers = Array.from({ length: order.connections }, () => new Caller(order, request, counted))
  const from = machineUs()
  await (order.rate > 0 ? openLoop(callers, order) : closedLoop(callers, order))
  const tookMs = (machineUs() - from) / 1_000
  for (const caller of callers) caller.close()
  const { latencyUs, firstUs, delayUs, ...counts } = counted
  return {
    ...counts,
    tookMs,
    latencyUs: percentiles(latencyUs),
    firstUs: percentiles(firstUs),
    delayUs: percentiles(delayUs),
  }
}

process.on('message', (order: Order) => {
  void run(order).then((figures) => process.send?.({ id: order.id, figures } satisfies OrderDone))
})
process.once('disconnect', () => process.exit(0))
