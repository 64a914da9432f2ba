import type { Clock, Log } from './ports.ts'

/** A piece of work that is done again and again. */
export interface Job {
  readonly name: string
  readonly everyMs: number
  /** Also when the jobs are started. */
  readonly isDueAtStart?: boolean
  run(): Promise<unknown>
}

/**
 * Starts jobs: each waits for its own end before it is due again. A failure is logged once, and so is the end of a row
 * of them. The result stops the jobs and resolves when none is running.
 */
export function startJobs(clock: Clock, log: Log, jobs: readonly Job[]): () => Promise<void> {
  const stops = jobs.map((job) => startJob(clock, log, job))
  return async () => {
    await Promise.all(stops.map((stop) => stop()))
  }
}

function startJob(clock: Clock, log: Log, job: Job): () => Promise<void> {
  let isStopped = false
  let isFailing = false
  let running: Promise<void> = Promise.resolve()
  let stopTimer = clock.after(job.isDueAtStart ? 0 : job.everyMs, turn)

  function turn(): void {
    running = once().then(() => {
      if (!isStopped) stopTimer = clock.after(job.everyMs, turn)
    })
  }
  async function once(): Promise<void> {
    try {
      await job.run()
      if (isFailing) log('job_works', { job: job.name })
      isFailing = false
    } catch (error) {
      if (!isFailing) log('job_failed', { job: job.name, error: String(error) })
      isFailing = true
    }
  }
  return () => {
    isStopped = true
    stopTimer()
    return running
  }
}
