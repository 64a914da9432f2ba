/** Parts that a limit is waited for in: a stop of the process costs at most one of them. */
const parts = 4

export interface AwakeTimer {
  stop(): void
}

export interface AwakeTimerOptions {
  /** The process stays alive for it. */
  readonly holds: boolean
}

/**
 * Runs something after so long of this process's own time. After a stop (SIGSTOP, a machine that slept, a loop that was
 * busy) timers are run before that is read which came meanwhile: whoever was given time for an answer would be found
 * late although it has answered, or stood still as well.
 */
export function afterAwake(ms: number, run: () => void, { holds }: AwakeTimerOptions): AwakeTimer {
  let left = parts
  let timer = next()
  function next(): NodeJS.Timeout {
    const started = setTimeout(() => {
      left -= 1
      if (left === 0) run()
      else timer = next()
    }, ms / parts)
    return holds ? started : started.unref()
  }
  return { stop: () => clearTimeout(timer) }
}
