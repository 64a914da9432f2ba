import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { root } from '../source.ts'

/** A first start on a busy machine takes up to a minute. */
const startMs = 90_000
const endMs = 60_000
const pollMs = 25

/** The Node that the package pins, which is the one that `npm start` finds. */
const pinned = join(root, 'node_modules/.bin/node')
export const nodeProgram = existsSync(pinned) ? pinned : process.execPath

/** One program of ours, as the operating system runs it. */
export interface Program {
  /** Standard output and error so far. */
  readonly out: () => string
  readonly error: () => string
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
  /** Sends a signal; resolves when the process is gone. */
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string>
  /** Freezes the process where it stands, and lets it go on. */
  freeze(): void
  thaw(): void
}

/** Starts a program of the repository with this environment and nothing else of ours. */
export function startProgram(args: readonly string[], env: Readonly<Record<string, string>>, cwd = root): Program {
  const child = spawn(nodeProgram, [...args], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const out = textOf(child.stdout)
  const error = textOf(child.stderr)
  const ended = new Promise<number | string>((resolve) => {
    // `close` comes when the pipes are read to their end too.
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'gone'))
  })
  children.add(child)
  void ended.then(() => children.delete(child))
  return {
    out,
    error,
    ended,
    kill(signal) {
      child.kill(signal)
      return ended
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
  }
}

/** Runs a program to its end. */
export async function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ readonly code: number | string; readonly out: string; readonly error: string }> {
  const program = startProgram(args, env)
  const stop = new AbortController()
  const late = wait(endMs, undefined, { signal: stop.signal }).then(
    () => program.kill('SIGKILL'),
    () => program.ended,
  )
  const code = await Promise.race([program.ended, late])
  stop.abort()
  return { code, out: program.out(), error: program.error() }
}

const children = new Set<ChildProcess>()
// A test that fails half-way must not leave gateways behind.
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')))

function textOf(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.setEncoding('utf8')
  stream?.on('data', (more: string) => {
    text += more
  })
  return () => text
}

/** A gateway in a process of its own. */
export interface GatewayProcess extends Program {
  readonly url: string
}

/** What a gateway is started with when nothing else matters: a free port of this machine. */
const quiet = { HOST: '127.0.0.1', PORT: '0' }

/** `npm start`, until it listens. Throws, with what it said, if it ends before. */
export async function startGatewayProcess(env: Readonly<Record<string, string>>): Promise<GatewayProcess> {
  const program = startProgram(['src/entry/node.ts'], { ...quiet, ...env })
  const url = await until('a gateway that listens', async () => {
    const found = /^Tollgate serves (\S+)$/m.exec(program.out())?.[1]
    if (found === undefined) await refuseEnd(program)
    return found
  })
  return { ...program, url }
}

async function refuseEnd({ ended, out, error }: Program): Promise<void> {
  const code = await Promise.race([ended, Promise.resolve(undefined)])
  if (code !== undefined) throw new Error(`the gateway ended with ${code}:\n${out()}\n${error()}`)
}

/** Asks again and again until there is an answer. */
export async function until<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + startMs; Date.now() < end; await wait(pollMs)) {
    const found = await look()
    if (found !== undefined) return found
  }
  throw new Error(`there was no ${what} after ${startMs} ms`)
}
