import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../db/real-postgres.ts'
import { type Program, startProgram, until } from './process.ts'

/** A process that does not come up is started again after this long. */
const againMs = 250
const pollMs = 50
/** Of what a gateway said at its end. */
const lastWords = 400
/** An answer about the gateway itself is waited for no longer, because the process may be frozen. */
const askMs = 5_000

/** A gateway as an operator runs it: a process that is started again whenever it ends, on one port and data folder. */
export interface Supervised {
  readonly url: string
  /** The process of this moment; it may be on its way up. */
  readonly process: Program
  /** How many processes there have been. */
  readonly starts: number
  /** Those of them that had served and ended though nobody killed or stopped them, by `performance.now`. */
  readonly falls: readonly Fall[]
  /** Where the journal of its holds lies. */
  readonly journal: string
  /** All that its processes have printed. */
  log(): string
  /** Resolves when a process serves calls. */
  up(): Promise<void>
  /** Told to stop, and not started again; resolves to how it ended. */
  stop(): Promise<number | string>
  /** Killed, and not started again. */
  end(): Promise<number | string>
}

export interface Fall {
  readonly atMs: number
  /** The last that it said. */
  readonly why: string
}

/** Starts a gateway with this environment, on a free port and the data folder, and keeps it running. */
export async function superviseGateway(data: string, env: Readonly<Record<string, string>>): Promise<Supervised> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const programs: Program[] = []
  const start = (): Program => {
    const own = { HOST: '127.0.0.1', PORT: String(port), TOLLGATE_DATA_DIR: data }
    const program = startProgram(['src/entry/node.ts'], { ...env, ...own })
    programs.push(program)
    return program
  }
  const falls: Fall[] = []
  let isOver = false
  let current = start()
  const kept = keep()

  async function keep(): Promise<void> {
    for (;;) {
      const code = await current.ended
      const hasServed = current.out().includes('Tollgate serves')
      if (!isOver && hasServed && code !== 'SIGKILL')
        falls.push({ atMs: performance.now(), why: `ended with ${code}: ${current.error().slice(-lastWords)}` })
      if (!isOver) await wait(againMs)
      if (isOver) return
      current = start()
    }
  }
  async function finish(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    isOver = true
    const code = await current.kill(signal)
    await kept
    return code
  }
  return {
    url,
    get process() {
      return current
    },
    get starts() {
      return programs.length
    },
    falls,
    journal: join(data, 'holds.journal'),
    log: () => programs.map((program) => program.out() + program.error()).join(''),
    up: () => isUp(url, () => current),
    stop: () => finish('SIGTERM'),
    end: () => finish('SIGKILL'),
  }
}

async function isUp(url: string, process: () => Program): Promise<void> {
  let told = 'nothing'
  const ready = async () => {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(askMs) }).catch(() => undefined)
    told = (await answer?.text().catch(() => undefined)) ?? 'nothing'
    if (answer?.status === 200) return true
    await wait(pollMs)
    return undefined
  }
  await until('a gateway that is ready', ready).catch((error: unknown) => {
    throw new Error(
      `the gateway did not come up, and said ${told}: ${process().out().slice(-2_000)}${process().error()}`,
      {
        cause: error,
      },
    )
  })
}
