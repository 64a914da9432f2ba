import { parentPort } from 'node:worker_threads'
import { Tiktoken } from 'tiktoken/lite'
import ranks from 'tiktoken/encoders/o200k_base.json' with { type: 'json' }
import { FleetingMap } from '../core/fleeting.ts'
import { pieces } from '../core/pieces.ts'
import { releaseSpareMemory } from './spare-memory.ts'

/** What the worker is told: texts to count, alone or together, by id, and ids that nobody waits for any more. */
export interface ToWorker {
  readonly texts: readonly (readonly [id: number, text: string | readonly string[]])[]
  readonly dropped: readonly number[]
}

/** What it says: that it is loaded, or the counts of texts that are done. None is done: a sign of life. */
export type FromWorker = 'ready' | readonly (readonly [id: number, tokens: number])[]

/** UTF-16 units between two looks at the messages: at most some 40 ms of the slowest text, so that small counts get by. */
const unitsPerTurn = 8_192
/** What a piece costs beside its units, in units. */
const pieceUnits = 32

interface Job {
  readonly pieces: Iterator<string, void>
  tokens: number
}

/** Counts what the port asks for. Long texts take turns with short ones. */
function serve(port: NonNullable<typeof parentPort>): void {
  const encoder = new Tiktoken(ranks.bpe_ranks, ranks.special_tokens, ranks.pat_str)
  const jobs = new FleetingMap<number, Job>()
  let running = false

  function turn(): void {
    port.postMessage(work(encoder, jobs) satisfies FromWorker)
    running = jobs.size > 0
    // A turn of the event loop: the messages that came meanwhile are heard first.
    if (running) setImmediate(turn)
  }

  port.on('message', (message: ToWorker) => {
    for (const [id, text] of message.texts) jobs.set(id, { pieces: piecesOf(text), tokens: 0 })
    for (const id of message.dropped) jobs.delete(id)
    if (running || jobs.size === 0) return
    running = true
    setImmediate(turn)
  })
  // The tables as text and as objects: the encoder has its own.
  releaseSpareMemory()
  port.postMessage('ready' satisfies FromWorker)
}

/** One turn. Returns the jobs that it finished; the one that it could not goes to the back of the map. */
function work(encoder: Tiktoken, jobs: FleetingMap<number, Job>): [id: number, tokens: number][] {
  const done: [id: number, tokens: number][] = []
  let left = unitsPerTurn
  for (const [id, job] of jobs) {
    left -= encode(encoder, job, left)
    jobs.delete(id)
    if (left <= 0) {
      jobs.set(id, job)
      break
    }
    done.push([id, job.tokens])
  }
  return done
}

function* piecesOf(text: string | readonly string[]): Generator<string, void> {
  if (typeof text === 'string') yield* pieces(text)
  else for (const one of text) yield* pieces(one)
}

/** Counts pieces of a job until `limit` is used up. Returns what it took: less than the limit if the job is done. */
function encode(encoder: Tiktoken, job: Job, limit: number): number {
  for (let taken = 0; ;) {
    if (taken >= limit) return taken
    const next = job.pieces.next()
    if (next.done) return taken
    // `encode` refuses the names of special tokens in a text; `encode_ordinary` takes them as the text they are.
    job.tokens += encoder.encode_ordinary(next.value).length
    taken += next.value.length + pieceUnits
  }
}

if (parentPort) serve(parentPort)
