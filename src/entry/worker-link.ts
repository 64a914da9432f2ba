/** How a worker is to stop: with all the others, or alone, while they go on serving the same port. */
export type HowToStop = 'all' | 'alone'

/** What the supervisor tells a worker. */
export type ToWorker =
  | { readonly type: 'all ready' }
  | { readonly type: 'stop'; readonly how: HowToStop }
  /** Asks for its figures. */
  | { readonly type: 'figures' }
  /** The figures of all, as it asked for. */
  | { readonly type: 'gathered'; readonly id: number; readonly text: string }

/** What a worker tells the supervisor. */
export type FromWorker =
  | { readonly type: 'listening'; readonly url: string; readonly port: number }
  | { readonly type: 'ready' }
  /** It was told to stop by somebody else, and asks how. */
  | { readonly type: 'told' }
  | { readonly type: 'figures'; readonly text: string }
  /** Asks for the figures of all. */
  | { readonly type: 'gather'; readonly id: number }

/** Variables by which a supervisor names a worker that it starts. */
export const workerVariable = 'TOLLGATE_WORKER'
export const firstVariable = 'TOLLGATE_FIRST_WORKER'

/** A supervisor that has nothing to say for so long is no longer there. */
const answerMs = 5_000

/** A worker's line to its supervisor. */
export interface WorkerLink {
  /** From 1 on. */
  readonly number: number
  /** Whether it is the one that brings the database up to date and says to people where the gateway is. */
  readonly isFirst: boolean
  /** Whether all workers have been ready once. */
  readonly areAllReady: boolean
  listening(at: { readonly url: string; readonly port: number }): void
  ready(): void
  /** Makes a printer of the figures of all workers from one of this worker's own. */
  gatherer(print: () => string): () => Promise<string>
  /** Resolves when the supervisor has said how; where it is gone, all stop. */
  howToStop(): Promise<HowToStop>
}

/** The line to the supervisor that has started this process; undefined where nobody has. */
export function openWorkerLink(env: Readonly<Record<string, string | undefined>>): WorkerLink | undefined {
  const number = Number(env[workerVariable] ?? '0')
  if (!(number >= 1) || !process.send) return undefined
  const state = { areAllReady: false, gathers: 0 }
  const stop = Promise.withResolvers<HowToStop>()
  const gathers = new Map<number, (text: string) => void>()
  let figures = () => ''
  const tell = (message: FromWorker) => void (process.connected && process.send?.(message))
  const endWith = (how: HowToStop) => {
    stop.resolve(how)
    // Once it is told to stop nobody listens to signals any more, and another one would end the process at once.
    if (process.listenerCount('SIGTERM') > 0) process.kill(process.pid, 'SIGTERM')
  }
  // The output goes through the supervisor: without it there is nobody to read, and that is no reason to die at once.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  process.once('disconnect', () => endWith('all'))
  process.on('message', (message: ToWorker) => {
    if (message.type === 'all ready') state.areAllReady = true
    else if (message.type === 'stop') endWith(message.how)
    else if (message.type === 'gathered') gathers.get(message.id)?.(message.text)
    else tell({ type: 'figures', text: figures() })
  })
  return {
    number,
    isFirst: env[firstVariable] === '1',
    // allowed -- one object for the process
    get areAllReady() {
      return state.areAllReady
    },
    listening: ({ url, port }) => tell({ type: 'listening', url, port }),
    ready: () => tell({ type: 'ready' }),
    gatherer(print) {
      figures = print
      return () => {
        const id = ++state.gathers
        const all = new Promise<string>((resolve) => gathers.set(id, resolve))
        tell({ type: 'gather', id })
        return within(all, print()).finally(() => gathers.delete(id))
      }
    },
    howToStop() {
      tell({ type: 'told' })
      return within(stop.promise, 'all')
    },
  }
}

/** What comes in time, or else what is known without it. */
function within<T>(coming: Promise<T>, otherwise: T): Promise<T> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(otherwise), answerMs)
    void coming.then((value) => {
      clearTimeout(timer)
      resolve(value)
    })
  })
}
