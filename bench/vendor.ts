import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { answerShape, brokenAfter, machineUs, reported, stampOf, textOf } from './contest/wire.ts'

/*
 * A vendor that costs little, so that what stands before it is what is measured: HTTP/1.1 by hand over plain sockets,
 * answers made once. The model's name says the answer (contest/wire.ts). Prints `listening PORT`.
 */

const mostHeadBytes = 32 * 1024
const mostBodyBytes = 4 * 1024 * 1024
const tickMs = 1

const usage = { ...reported, total_tokens: reported.prompt_tokens + reported.completion_tokens }
const base = { id: 'chatcmpl-bench0001', created: 1_760_000_000, model: 'bench' }

/** An answer with its head, of so many bytes without it. */
function jsonAnswer(bytes: number): Buffer {
  const of = (content: string) =>
    JSON.stringify({
      ...base,
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content }, logprobs: null, finish_reason: 'stop' }],
      usage,
    })
  const body = of(textOf(Math.max(1, bytes - of('').length)))
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n` +
      `x-request-id: req_0123456789abcdef\r\nserver: bench\r\n\r\n${body}`,
  )
}

const answers = new Map<number, Buffer>()

function answerOf(bytes: number): Buffer {
  const made = answers.get(bytes) ?? jsonAnswer(bytes)
  answers.set(bytes, made)
  return made
}

const streamHead =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n' +
  'cache-control: no-cache\r\nx-request-id: req_0123456789abcdef\r\nserver: bench\r\n\r\n'

function chunkOf(data: string): string {
  const event = `data: ${data}\n\n`
  return `${event.length.toString(16)}\r\n${event}\r\n`
}

const stampPlace = '@'
const [beforeStamp = '', afterStamp = ''] = chunkOf(
  JSON.stringify({
    ...base,
    object: 'chat.completion.chunk',
    system_fingerprint: stampPlace.repeat(stampOf(0).length),
    choices: [{ index: 0, delta: { content: ' token' }, logprobs: null, finish_reason: null }],
  }),
).split(stampPlace.repeat(stampOf(0).length))
const finish = chunkOf(
  JSON.stringify({
    ...base,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }],
  }),
)
const counted = chunkOf(JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [], usage }))
const done = `${chunkOf('[DONE]')}0\r\n\r\n`
/** The finish, the usage and the mark of the end. */
const lastEvents = 3

const contentEvent = (us: number) => beforeStamp + stampOf(us) + afterStamp

/** Event `at` of a stream of `events`. */
function eventAt(at: number, events: number, us: number): string {
  const left = events - at
  if (left > lastEvents) return contentEvent(us)
  if (left === lastEvents) return finish
  return left === 1 ? done : counted
}

interface PacedStream {
  readonly socket: Socket
  readonly events: number
  sent: number
  dueUs: number
}

/** Streams of one pace, in the order in which their next events are due. */
const paced = new Map<number, PacedStream[]>()
let ticking: NodeJS.Timeout | undefined

function tick(): void {
  const now = machineUs()
  let isBusy = false
  for (const [paceUs, queue] of paced) {
    let at = 0
    for (let next = queue[at]; next && next.dueUs <= now; next = queue[at]) {
      at++
      if (next.socket.destroyed) continue
      next.socket.write(eventAt(next.sent++, next.events, now), 'latin1')
      next.dueUs += paceUs
      if (next.sent < next.events) queue.push(next)
    }
    queue.splice(0, at)
    isBusy ||= queue.length > 0
  }
  if (isBusy) return
  clearInterval(ticking)
  ticking = undefined
}

function stream(socket: Socket, events: number, paceUs: number): void {
  const first = streamHead + eventAt(0, events, machineUs())
  socket.write(first, 'latin1')
  if (paceUs === 0) {
    // One write for each, as a vendor that makes token after token does.
    for (let at = 1; at < events; at++) socket.write(eventAt(at, events, machineUs()), 'latin1')
    return
  }
  const queue = paced.get(paceUs) ?? []
  paced.set(paceUs, queue)
  queue.push({ socket, events, sent: 1, dueUs: machineUs() + paceUs })
  ticking ??= setInterval(tick, tickMs)
}

/** The beginning of a stream and no more of it; with `isBroken` the connection ends there. */
function begin(socket: Socket, events: number, { isBroken }: { isBroken: boolean }): void {
  socket.write(streamHead, 'latin1')
  for (let at = 0; at < events; at++) socket.write(contentEvent(machineUs()), 'latin1')
  if (isBroken) socket.end()
}

const failed = JSON.stringify({ error: { message: 'The vendor has failed.', type: 'server_error', code: null } })

function fail(socket: Socket, status: number): void {
  socket.write(
    `HTTP/1.1 ${status} Failed\r\ncontent-type: application/json\r\ncontent-length: ${failed.length}\r\n\r\n${failed}`,
  )
}

/** Calls of each model that goes wrong now and then. */
const turns = new Map<string, number>()

/** Whether it is the turn of this call to go wrong. */
function isTurn(model: string, every: number): boolean {
  const at = ((turns.get(model) ?? 0) + 1) % every
  turns.set(model, at)
  return at === 0
}

function refuse(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
}

function answer(socket: Socket, body: Buffer): void {
  const from = body.indexOf('"model":')
  const model = /^"model":\s*"([^"]*)"/.exec(body.toString('latin1', from, from + 100))?.[1] ?? ''
  const shape = answerShape(model)
  if (!shape) return refuse(socket, '404 Not Found')
  switch (shape.kind) {
    case 'json':
      return void socket.write(answerOf(shape.bytes))
    case 'stream':
      return stream(socket, Math.max(shape.events, lastEvents + 1), shape.paceUs)
    case 'stall':
      return begin(socket, shape.events, { isBroken: false })
    case 'flaky':
      return isTurn(model, shape.every)
        ? begin(socket, brokenAfter, { isBroken: true })
        : stream(socket, Math.max(shape.events, lastEvents + 1), 0)
    case 'fail':
      return isTurn(model, shape.every) ? fail(socket, shape.status) : void socket.write(answerOf(1_024))
  }
}

/** Takes one request after another from what came; gives what is left. */
function take(socket: Socket, got: Buffer): Buffer {
  for (let rest = got; ;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) {
      if (rest.length > mostHeadBytes) refuse(socket, '431 Request Header Fields Too Large')
      return rest
    }
    const length = Number(/\r\ncontent-length: *(\d{1,9})/i.exec(rest.toString('latin1', 0, end))?.[1] ?? 'NaN')
    if (!(length <= mostBodyBytes)) {
      refuse(socket, '411 Length Required')
      return Buffer.alloc(0)
    }
    const whole = end + 4 + length
    if (rest.length < whole) return rest
    answer(socket, rest.subarray(end + 4, whole))
    rest = rest.subarray(whole)
    if (rest.length === 0) return rest
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  let parts: Buffer[] = []
  let size = 0
  let wanted = 0
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    parts.push(chunk)
    size += chunk.length
    if (size < wanted) return
    const rest = take(socket, parts.length === 1 ? chunk : Buffer.concat(parts))
    parts = rest.length === 0 ? [] : [rest]
    size = rest.length
    // A long body comes in many pieces: looked at again when there is as much again, or at its end.
    wanted = wantedOf(rest)
  })
})

/** Bytes of the request whose beginning is here; 0 where its head is not whole yet. */
function wantedOf(rest: Buffer): number {
  const end = rest.indexOf('\r\n\r\n')
  if (end < 0) return 0
  return end + 4 + Number(/\r\ncontent-length: *(\d{1,9})/i.exec(rest.toString('latin1', 0, end))?.[1] ?? '0')
}

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', 4_096, () => {
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`)
})
process.once('SIGTERM', () => process.exit(0))
