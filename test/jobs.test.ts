import { describe, expect, test } from 'vitest'
import { startJobs, type Job } from '../src/jobs.ts'
import type { Clock } from '../src/ports.ts'

/** Runs what is due by `toMs`, in order, and lets what follows from it happen. */
function steppedClock(): Clock & { to(ms: number): Promise<void> } {
  const due = new Map<() => void, number>()
  let nowMs = 0
  return {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(ms, run) {
      due.set(run, nowMs + ms)
      return () => void due.delete(run)
    },
    async to(ms) {
      for (; nowMs <= ms; nowMs++) {
        for (const [run, at] of due) {
          if (at > nowMs) continue
          due.delete(run)
          run()
        }
        await new Promise(setImmediate)
      }
    },
  }
}

function started(job: Partial<Job>) {
  const clock = steppedClock()
  const runs: number[] = []
  const events: string[] = []
  const run = () => Promise.resolve(runs.push(clock.now()))
  const stop = startJobs(clock, (event) => void events.push(event), [{ name: 'work', everyMs: 10, run, ...job }])
  return { clock, runs, events, stop }
}

describe('a job', () => {
  test('is done again and again', async () => {
    const { clock, runs } = started({})
    await clock.to(35)
    expect(runs).toEqual([10, 20, 30])
  })

  test('is done at the start too where it asks for that', async () => {
    const { clock, runs } = started({ isDueAtStart: true })
    await clock.to(15)
    expect(runs).toEqual([0, 10])
  })

  test('that fails is done again, and logged once until it works', async () => {
    let tries = 0
    const run = () => Promise.reject(new Error(`try ${++tries}`))
    const { clock, events } = started({ run })
    await clock.to(25)
    expect([tries, events]).toEqual([2, ['job_failed']])
  })

  test('is not done once it was stopped', async () => {
    const { clock, runs, stop } = started({})
    await clock.to(15)
    await stop()
    await clock.to(50)
    expect(runs).toEqual([10])
  })
})
