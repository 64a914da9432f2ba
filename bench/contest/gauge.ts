import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** How deep a family of processes may be, so that one that grows while it is read cannot keep us. */
const mostGenerations = 8

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // It ended in between, and what has ended has nothing more to tell.
    return ''
  }
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    // As above.
    return []
  }
}

/** A process and all that it started. */
export function familyOf(pid: number, generations = mostGenerations): readonly number[] {
  if (generations === 0) return []
  const children = list(`/proc/${pid}/task`).flatMap((task) =>
    read(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap((child) => familyOf(child, generations - 1))]
}

/** Microseconds of CPU that a process's family has used, in user and kernel, of all its threads that still live. */
export function cpuUs(pid: number): number {
  return familyOf(pid)
    .flatMap((member) => list(`/proc/${member}/task`).map((task) => `/proc/${member}/task/${task}/schedstat`))
    .reduce((sum, path) => sum + Number(read(path).split(' ')[0] ?? 0) / 1_000, 0)
}

/** Microseconds of CPU that the main thread of a process has used. */
export function mainThreadUs(pid: number): number {
  return Number(read(`/proc/${pid}/task/${pid}/schedstat`).split(' ')[0] ?? 0) / 1_000
}

/** Resident memory of a process's family, in MB; pages that two of them share count twice. */
export function residentMb(pid: number): number {
  return familyOf(pid).reduce((sum, member) => {
    const kb = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${member}/status`))?.[1]
    return sum + Number(kb ?? 0) / 1_024
  }, 0)
}

const watchMs = 100

/** Watches resident memory; `stop` gives the most there was, in MB. */
export function watchMemory(pid: number): { readonly stop: () => number } {
  let most = residentMb(pid)
  const look = () => {
    most = Math.max(most, residentMb(pid))
  }
  const looking = setInterval(look, watchMs)
  return {
    stop() {
      clearInterval(looking)
      look()
      return most
    },
  }
}

const events = 'instructions:u,instructions:k'
const perfMs = 5_000

/** Whether `perf stat` counts instructions here; many virtual machines do not let it. */
export function canCount(): boolean {
  try {
    return /^\d+,/m.test(execPerf(['stat', '-x,', '-e', events, 'true']))
  } catch {
    return false
  }
}

function execPerf(args: readonly string[]): string {
  // What perf counted goes to standard error, which is joined to the output by the shell's own means.
  return execFileSync('sh', ['-c', 'exec perf "$@" 2>&1', 'perf', ...args], { encoding: 'utf8', timeout: perfMs })
}

/** The sum of the counts in what `perf stat -x,` said; undefined where one of them was not counted. */
export function countsOf(text: string): number | undefined {
  const counts = text
    .split('\n')
    .filter((line) => line.includes(','))
    .map((line) => /^(\d+),/.exec(line)?.[1])
  if (counts.length === 0 || counts.some((count) => count === undefined)) return undefined
  return counts.reduce((sum, count) => sum + Number(count), 0)
}

/** Counts instructions of a process's family from now on; `stop` gives how many, undefined where perf failed. */
export async function countInstructions(pid: number): Promise<{ readonly stop: () => Promise<number | undefined> }> {
  const args = ['stat', '-x,', '-e', events, '-D', '-1', '--control', 'fd:3,4', '-p', familyOf(pid).join(',')]
  const perf = spawn('perf', args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] })
  let text = ''
  perf.stderr?.on('data', (more: Buffer) => {
    text += more.toString()
  })
  const ended = new Promise<void>((resolve) => {
    perf.once('error', () => resolve())
    perf.once('close', () => resolve())
  })
  await Promise.race([tell(perf, 'enable'), ended])
  return {
    async stop() {
      await Promise.race([tell(perf, 'disable'), ended])
      perf.kill('SIGINT')
      await ended
      return countsOf(text)
    },
  }
}

/** Tells a running perf something; resolves when it has done it. */
function tell(perf: ChildProcess, command: 'enable' | 'disable'): Promise<void> {
  const [, , , control, told] = perf.stdio
  return new Promise((resolve) => {
    if (!control || !told || !('write' in control)) return resolve()
    told.once('data', () => resolve())
    control.on('error', () => resolve())
    control.write(`${command}\n`)
  })
}
