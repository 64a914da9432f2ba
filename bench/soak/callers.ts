import { connect, type Socket } from 'node:net'
import { AnswerReader } from '../contest/answer-reader.ts'
import { machineUs } from '../contest/wire.ts'
import { chargeOf, count, cycle, type Ending, endingOf, type Kind, newTally, type Tally } from './mix.ts'

/*
 * The callers of the soak, in a process of their own: they call at a rate, or as fast as they are answered, and say once
 * a second what has come of it.
 */

/** What the callers are told; a new order takes the place of the one before. */
export interface SoakOrder {
  readonly port: number
  readonly headers: readonly string[]
  readonly connections: number
  /** Calls a second; 0 for one after another on each connection; undefined to stop when all are answered. */
  readonly rate: number | undefined
  /** No more calls than so many in all. */
  readonly calls: number
  readonly promptTokens: number
}

/** What the callers say. */
export interface SoakReport {
  /** Calls that were begun, that have ended, and that had no connection free when they were due. */
  readonly begun: number
  readonly ended: number
  readonly late: number
  readonly tally: Omit<Tally, 'inputTokens' | 'outputTokens'>
  /** What all that ended must have been charged, in nano-units. */
  readonly nanos: string
  readonly faults: readonly string[]
  /** Every call that was begun has ended, and no more will be. */
  readonly isOver: boolean
}

const reportMs = 1_000
const tickMs = 2
const answerMs = 60_000
/**
 * A connection that was idle for longer is not used again: the gateway says in `keep-alive` how long it keeps one, and
 * who sends in the very moment in which it is closed is not answered.
 */
const mostIdleMs = 60_000
const mostFaults = 10
/** Of answers that are read as text; longer ones keep their end. */
const mostText = 256 * 1_024

const order100 = cycle()
const tally = newTally()
const faults: string[] = []
const state = { begun: 0, ended: 0, late: 0 }
let order: SoakOrder | undefined
const free: Connection[] = []
const busy = new Set<Connection>()

function request({ port, headers }: SoakOrder, { body }: Kind): Buffer {
  const lines = [
    'POST /v1/chat/completions HTTP/1.1',
    `host: 127.0.0.1:${port}`,
    'content-type: application/json',
    ...headers,
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

/** One connection, on which calls of all kinds follow one another. */
class Connection {
  #socket: Socket | undefined
  #reader = new AnswerReader()
  #text = ''
  #kind: Kind | undefined
  #end: ((ending: Ending) => void) | undefined
  #late: NodeJS.Timeout | undefined
  #idleSince = 0

  call(asked: SoakOrder, kind: Kind): Promise<Ending> {
    if (performance.now() - this.#idleSince > mostIdleMs) this.close()
    const socket = this.#socket && !this.#socket.destroyed ? this.#socket : this.#open(asked.port)
    this.#reader.reset()
    this.#text = ''
    this.#kind = kind
    this.#late = setTimeout(() => this.#finish({ kind: 'broken', why: `no answer in ${answerMs} ms` }), answerMs)
    socket.write(request(asked, kind))
    return new Promise((resolve) => {
      this.#end = resolve
    })
  }

  close(): void {
    this.#socket?.destroy()
  }

  #open(port: number): Socket {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    const fail = (why: string) => {
      if (socket === this.#socket) this.#finish({ kind: 'broken', why })
    }
    socket.on('data', (chunk: Buffer) => {
      if (socket === this.#socket) this.#read(chunk)
    })
    socket.on('error', (error) => fail(String(error)))
    socket.on('close', () => fail('the connection was closed'))
    this.#socket = socket
    return socket
  }

  #read(chunk: Buffer): void {
    const kind = this.#kind
    if (!kind || !this.#end) return
    try {
      const isWhole = this.#reader.feed(chunk)
      this.#text = (this.#text + chunk.toString('latin1')).slice(-mostText)
      const { status } = this.#reader
      if (isWhole) return this.#finish(endingOf(kind, { status, text: this.#text }))
      if (kind.hangsUpAfter === undefined) return
      const heard = endingOf(kind, { status, text: this.#text })
      if (heard.kind !== 'partial') return
      this.#finish(heard)
      this.close()
    } catch (error) {
      this.#finish({ kind: 'broken', why: String(error) })
    }
  }

  #finish(ending: Ending): void {
    clearTimeout(this.#late)
    this.#idleSince = performance.now()
    const end = this.#end
    this.#end = undefined
    if (ending.kind === 'broken') this.close()
    end?.(ending)
  }
}

async function make(asked: SoakOrder, connection: Connection): Promise<void> {
  const kind = order100[state.begun++ % order100.length]
  if (!kind) return
  busy.add(connection)
  const ending = await connection.call(asked, kind)
  busy.delete(connection)
  state.ended++
  count(tally, ending, asked.promptTokens)
  if (ending.kind === 'broken' && faults.length < mostFaults) faults.push(`${kind.name}: ${ending.why}`)
  free.push(connection)
  if (order?.rate === 0 && state.begun < order.calls) begin(order)
}

function begin(asked: SoakOrder): void {
  const connection = free.pop()
  if (connection) void make(asked, connection)
}

const pace = { fromUs: 0, due: 0 }

/** Begins what is due. Calls that find no connection free are not made up for: the rate is the load, not a debt. */
function tick(): void {
  if (!order?.rate) return
  const due = Math.floor(((machineUs() - pace.fromUs) / 1_000_000) * order.rate)
  for (; pace.due < due && state.begun < order.calls; pace.due++) {
    if (free.length > 0) begin(order)
    else state.late++
  }
}

function follow(next: SoakOrder): void {
  order = next
  pace.fromUs = machineUs()
  pace.due = 0
  const wanted = Math.max(0, next.connections - free.length - busy.size)
  free.push(...Array.from({ length: wanted }, () => new Connection()))
  if (next.rate === 0) for (let at = free.length; at > 0 && state.begun < next.calls; at--) begin(next)
}

function report(): void {
  const { inputTokens: _in, outputTokens: _out, ...endings } = tally
  const isDone = order !== undefined && (order.rate === undefined || state.begun >= order.calls)
  process.send?.({
    ...state,
    tally: endings,
    nanos: String(chargeOf(tally)),
    faults,
    isOver: isDone && busy.size === 0,
  } satisfies SoakReport)
}

// Read for what it exports, it does nothing.
if (process.send) {
  setInterval(tick, tickMs)
  setInterval(report, reportMs)
  process.on('message', follow)
  process.once('disconnect', () => process.exit(0))
}
