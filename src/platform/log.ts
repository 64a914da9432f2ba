import { isoTime } from '../core/iso-time.ts'
import type { Log } from '../ports.ts'

/** JSON lines on standard output: one object a line, with `at` and `event` first. */
export function jsonLog(write: (line: string) => void, now: () => number): Log {
  return (event, fields) => write(`${JSON.stringify({ at: isoTime(now()), event, ...fields })}\n`)
}

/** Lines wait no longer than this for others to go out with. */
const gatherMs = 20
const gatherCharacters = 64 * 1024

export interface GatheredWrites {
  write(line: string): void
  /** Writes what waits; for the end of the process too. */
  flush(): void
}

/** Writes many lines in one piece. Node writes to a pipe at once and in the loop, so that each piece is a system call. */
export function gatherWrites(write: (text: string) => void): GatheredWrites {
  let waiting = ''
  let timer: ReturnType<typeof setTimeout> | undefined
  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    const text = waiting
    waiting = ''
    if (text !== '') write(text)
  }
  return {
    write(line) {
      waiting += line
      if (waiting.length >= gatherCharacters) flush()
      else timer ??= setTimeout(flush, gatherMs)
    },
    flush,
  }
}
