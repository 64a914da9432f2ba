import type { Log } from '../ports.ts'

/** JSON lines on standard output: one object a line, with `at` and `event` first. */
export function jsonLog(write: (line: string) => void, now: () => number): Log {
  return (event, fields) => write(`${JSON.stringify({ at: new Date(now()).toISOString(), event, ...fields })}\n`)
}
