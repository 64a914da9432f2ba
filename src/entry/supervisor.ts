import { fork, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config.ts'
import { mergeMetrics, type WorkerMetrics } from '../record/merge-metrics.ts'
import { systemClock } from '../platform/clock.ts'
import { jsonLog } from '../platform/log.ts'
import type { Log } from '../ports.ts'
import { configFrom, secretOf } from './configuration.ts'
import { forwardLines } from './forward-lines.ts'
import type { Running } from './serve.ts'
import { unheard } from './start.ts'
import { firstVariable, type FromWorker, type HowToStop, type ToWorker, workerVariable } from './worker-link.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** A worker that ends without being told to is started again after this, twice as long each time that it does not last. */
const firstPauseMs = 100
const longestPauseMs = 30_000
/** One that lasted so long has started well: what ends it is no fault of the start. */
const steadyMs = 60_000
/** A worker that was told to stop by somebody else hears how after this: what told it may be telling us too. */
const toldMs = 100
/** Beyond the grace of calls, for a worker to store what was charged and to end. */
const endMs = 20_000
/** A scrape goes without the figures of a worker that does not answer. */
const figuresMs = 2_000

interface Worker {
  readonly number: number
  readonly child: ChildProcess
  readonly startedAtMs: number
  readonly ready: Promise<void>
  /** What it ended with. */
  readonly ended: Promise<number | string>
  isReady: boolean
  isToStop: boolean
}

interface Supervised {
  readonly env: Environment
  readonly config: Config
  readonly log: Log
  readonly write: (line: string) => void
  readonly secret: string
  readonly workers: Map<number, Worker>
  readonly pauses: Map<number, number>
  port: number
  areAllReady: boolean
  isStopping: boolean
  /** Figures that are being gathered, for all who ask meanwhile. */
  gathering: Promise<string> | undefined
}

/**
 * Serves one port with several processes, each a replica of its own. The first brings the database up to date, then the
 * others start. Resolves when all are ready; throws an Error for an operator where one of them does not come up.
 */
export async function supervise(
  env: Environment,
  write: (line: string) => void,
  { config, count }: { readonly config: Config; readonly count: number },
): Promise<Running> {
  const { host, port, shutdownGraceMs } = config.server
  const log = jsonLog(write, systemClock.now)
  const group: Supervised = {
    env,
    config,
    log,
    write,
    secret: secretOf(config),
    workers: new Map(),
    pauses: new Map(),
    port,
    areAllReady: false,
    isStopping: false,
    gathering: undefined,
  }
  if (port !== 0) await refuseTaken(host, port)
  const stop = () => stopAll(group, shutdownGraceMs + endMs)
  try {
    const first = start(group, 1)
    const url = await listening(first)
    for (let number = 2; number <= count; number++) start(group, number)
    await Promise.all([...group.workers.values()].map(inTime))
    group.areAllReady = true
    for (const worker of group.workers.values()) tell(worker, { type: 'all ready' })
    for (const worker of group.workers.values()) void keep(group, worker)
    log('workers_ready', { workers: count, port: group.port })
    process.on('SIGUSR2', () => void roll(group))
    return { url, port: group.port, mend: () => false, close: stop }
  } catch (error) {
    await stop().catch(() => {})
    throw error
  }
}

/** Many sockets may share a port that was taken to be shared, other gateways' by mistake too: it must be free before. */
function refuseTaken(host: string, port: number): Promise<void> {
  const probe = createServer()
  return new Promise((resolve, reject) => {
    probe.once('error', (error: NodeJS.ErrnoException) => reject(unheard(error, host, port)))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()))
  })
}

/** Each has a data folder of its own; the first has that of a gateway that is alone, whose loans it goes on with. */
function start(group: Supervised, number: number): Worker {
  const { env, config, secret, port } = group
  const isFirst = number === 1 && !group.areAllReady
  const child = fork(fileURLToPath(new URL('./node.ts', import.meta.url)), {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      ...env,
      WORKERS: '1',
      PORT: String(port),
      TOLLGATE_SECRET: secret,
      TOLLGATE_DATA_DIR: number === 1 ? config.dataDir : join(config.dataDir, `worker-${number}`),
      [workerVariable]: String(number),
      [firstVariable]: isFirst ? '1' : '0',
    },
  })
  forwardLines(child.stdout, process.stdout)
  forwardLines(child.stderr, process.stderr)
  const ready = Promise.withResolvers<void>()
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? code ?? 'nothing'))
  })
  const worker: Worker = {
    number,
    child,
    startedAtMs: systemClock.elapsed(),
    ready: ready.promise,
    ended,
    isReady: false,
    isToStop: false,
  }
  group.workers.set(number, worker)
  group.log('worker_started', { worker: number, pid: child.pid })
  child.on('message', (message: FromWorker) => hear(group, worker, { message, ready: ready.resolve }))
  return worker
}

interface Heard {
  readonly message: FromWorker
  ready(): void
}

function hear(group: Supervised, worker: Worker, { message, ready }: Heard): void {
  if (message.type === 'listening') group.port = message.port
  else if (message.type === 'ready') {
    worker.isReady = true
    if (group.areAllReady) tell(worker, { type: 'all ready' })
    ready()
  } else if (message.type === 'told')
    systemClock.after(toldMs, () => stopOne(worker, group.isStopping ? 'all' : 'alone'))
  else if (message.type === 'gather') void gather(group, worker, message.id)
}

function tell({ child }: Worker, message: ToWorker): void {
  // One that has ended meanwhile needs to hear nothing.
  if (child.connected) child.send(message, () => {})
}

function stopOne(worker: Worker, how: HowToStop): void {
  worker.isToStop = true
  tell(worker, { type: 'stop', how })
}

/** Resolves to where the first worker listens. */
function listening(worker: Worker): Promise<string> {
  const heard = new Promise<string>((resolve) => {
    worker.child.on('message', (message: FromWorker) => {
      if (message.type === 'listening') resolve(message.url)
    })
  })
  return Promise.race([heard, refuseEnd(worker)])
}

function inTime(worker: Worker): Promise<void> {
  return Promise.race([worker.ready, refuseEnd(worker)])
}

async function refuseEnd({ number, ended }: Worker): Promise<never> {
  const code = await ended
  throw new Error(`Worker ${number} ended with ${code} before it was ready; see above for what it said.`)
}

/** Starts another worker in the place of one that has ended, for as long as the gateway is to run. */
async function keep(group: Supervised, worker: Worker): Promise<void> {
  const { number } = worker
  const code = await worker.ended
  if (group.isStopping) return
  const lastedMs = systemClock.elapsed() - worker.startedAtMs
  const pauseMs = worker.isToStop || lastedMs > steadyMs ? firstPauseMs : (group.pauses.get(number) ?? firstPauseMs)
  group.pauses.set(number, worker.isToStop ? firstPauseMs : Math.min(longestPauseMs, pauseMs * 2))
  group.log('worker_ended', { worker: number, code, pauseMs })
  await new Promise((resolve) => setTimeout(resolve, pauseMs))
  // Told to stop meanwhile: what is gone stays gone.
  if (!group.isStopping) void keep(group, start(group, number))
}

/** One worker after another, each when the one before it has been replaced: calls find another all the time. */
async function roll(group: Supervised): Promise<void> {
  try {
    configFrom(group.env)
  } catch (error) {
    group.log('workers_not_replaced', { reason: error instanceof Error ? error.message : String(error) })
    return
  }
  for (const worker of group.workers.values()) {
    if (group.isStopping || worker !== group.workers.get(worker.number)) continue
    stopOne(worker, 'alone')
    await worker.ended
    const other = await replacement(group, worker)
    if (!other) return
  }
  group.log('workers_replaced')
}

/** The worker that has come up in the place of another; undefined where it did not, or all are to stop. */
async function replacement(group: Supervised, gone: Worker): Promise<Worker | undefined> {
  for (let look = 0; look < startLooks && !group.isStopping; look++) {
    const worker = group.workers.get(gone.number)
    if (worker && worker !== gone && worker.isReady) return worker
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
  if (!group.isStopping) group.log('workers_not_replaced', { worker: gone.number, reason: 'it did not come up again' })
  return undefined
}

const lookMs = 50
/** A start takes a minute at most. */
const startLooks = 1_200

/** Figures of all that answer, to the worker that was asked for them. */
async function gather(group: Supervised, asking: Worker, id: number): Promise<void> {
  group.gathering ??= gatherAll(group).finally(() => {
    group.gathering = undefined
  })
  tell(asking, { type: 'gathered', id, text: await group.gathering })
}

async function gatherAll({ workers }: Supervised): Promise<string> {
  const found = await Promise.all([...workers.values()].map(figuresOf))
  return mergeMetrics(found.filter((one) => one !== undefined).toSorted((a, b) => a.worker - b.worker))
}

function figuresOf(worker: Worker): Promise<WorkerMetrics | undefined> {
  const { child, number } = worker
  return new Promise((resolve) => {
    const done = (text?: string) => {
      clearTimeout(timer)
      child.off('message', hearFigures)
      resolve(text === undefined ? undefined : { worker: number, text })
    }
    const hearFigures = (message: FromWorker) => {
      if (message.type === 'figures') done(message.text)
    }
    const timer = setTimeout(done, figuresMs)
    child.on('message', hearFigures)
    tell(worker, { type: 'figures' })
  })
}

/** Drains all. Rejects where one did not end well. */
async function stopAll(group: Supervised, withinMs: number): Promise<void> {
  group.isStopping = true
  const ends = await Promise.all(
    [...group.workers.values()].map(async (worker) => {
      stopOne(worker, 'all')
      const timer = setTimeout(() => worker.child.kill('SIGKILL'), withinMs)
      const code = await worker.ended
      clearTimeout(timer)
      return { worker: worker.number, code }
    }),
  )
  const failed = ends.filter(({ code }) => code !== 0)
  group.log('workers_stopped')
  if (failed.length > 0)
    throw new Error(failed.map(({ worker, code }) => `Worker ${worker} ended with ${code}.`).join(' '))
}
