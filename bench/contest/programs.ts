import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

/** Which cores are for whom; without `alone` nothing is pinned, and `why` says the reason. */
export interface Cores {
  /** The core of the contestants. */
  readonly alone: number | undefined
  /** All of them, as a list for taskset; empty where nothing is pinned. */
  readonly all: string
  readonly why: string
}

const mostText = 64 * 1024
/** How a program is told to stop, and how long it may take before it is killed. */
const stopMs = 5_000
const pollMs = 20

/** Numbers of cores from a list such as `0,2-3`. */
export function coresOf(list: string): readonly number[] {
  if (list === '') return []
  return list.split(',').flatMap((part) => {
    const [from = NaN, to = from] = part.split('-').map(Number)
    return Number.isSafeInteger(from) && to >= from
      ? Array.from({ length: Math.min(to - from + 1, 1_024) }, (_, at) => from + at)
      : []
  })
}

/**
 * Keeps this process, and whatever it starts later, off the last of its cores, which is the contestants' own.
 * Where that cannot be done it says why.
 */
export function partCores(): Cores {
  try {
    const status = readFileSync('/proc/self/status', 'utf8')
    const cores = coresOf(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '')
    const alone = cores.at(-1)
    if (alone === undefined || cores.length < 2)
      return { alone: undefined, all: '', why: 'nothing is pinned, because there is one core only' }
    const others = cores.slice(0, -1).join(',')
    execFileSync('taskset', ['-a', '-p', '-c', others, String(process.pid)], { stdio: 'ignore' })
    return { alone, all: cores.join(','), why: `contestants on core ${alone}, everything else on ${others}` }
  } catch {
    return { alone: undefined, all: '', why: 'nothing is pinned, because there is no taskset here' }
  }
}

/** Moves running processes, with all their threads, to one core. */
export function pin(pids: readonly number[], core: number): void {
  for (const pid of pids) execFileSync('taskset', ['-a', '-p', '-c', String(core), String(pid)], { stdio: 'ignore' })
}

export interface Program {
  readonly pid: number
  readonly child: ChildProcess
  /** What it printed, to a bound. */
  text(): string
  /** Resolves to the first match in what it prints; rejects when it ends before, or after `withinMs`. */
  says(pattern: RegExp, withinMs: number): Promise<RegExpExecArray>
  /** Told to stop, and killed if it does not. */
  stop(): Promise<void>
}

export interface Started {
  readonly command: string
  readonly args: readonly string[]
  /** The cores that it may use, as a list for taskset; ours without it. */
  readonly cores?: string
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Whether we speak to it by messages. */
  readonly isTold?: boolean
}

const running = new Set<ChildProcess>()
// A contest that is broken off leaves nothing behind.
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')))

/** Starts a program with this environment and nothing else of ours. */
export function startProgram({ command, args, cores = '', env = {}, cwd, isTold = false }: Started): Program {
  const [name, ...rest] = cores === '' ? [command, ...args] : ['taskset', '-c', cores, command, ...args]
  const child = spawn(name ?? command, rest, {
    ...(cwd !== undefined && { cwd }),
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], NO_COLOR: '1', NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...(isTold ? ['ipc' as const] : [])],
  })
  running.add(child)
  let text = ''
  let end: string | undefined
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      end = String(error)
      resolve()
    })
    child.once('close', (code, signal) => {
      end ??= `it ended with ${code ?? signal}`
      running.delete(child)
      resolve()
    })
  })
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (more: Buffer) => {
      text = (text + more.toString()).slice(-mostText)
    })
  return {
    pid: child.pid ?? 0,
    child,
    text: () => text,
    async says(pattern, withinMs) {
      for (const until = Date.now() + withinMs; Date.now() < until; await wait(pollMs)) {
        const found = pattern.exec(text)
        if (found) return found
        if (end !== undefined) throw new Error(`${end}: ${text.slice(-1_000)}`)
      }
      throw new Error(`it was not ready after ${withinMs} ms: ${text.slice(-1_000)}`)
    },
    async stop() {
      if (end !== undefined) return
      child.kill('SIGTERM')
      const stop = new AbortController()
      const late = wait(stopMs, undefined, { signal: stop.signal }).then(
        () => void child.kill('SIGKILL'),
        () => undefined,
      )
      await ended
      stop.abort()
      await late
    },
  }
}
