import type { TimeLimits } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import type { Platform } from '../ports.ts'

/** The first byte, the silence between two chunks, and the whole, each with its own limit; one timer for all. */
export function openWatch(clock: Platform['clock'], limits: TimeLimits, expired: (error: GatewayError) => void) {
  const startedAt = clock.elapsed()
  let lastByteAt: number | undefined
  let isPaused = false
  let stop = clock.after(Math.min(limits.firstByteMs, limits.idleMs, limits.totalMs), look)

  function look(): void {
    const now = clock.elapsed()
    // A vendor that we keep from sending is not silent.
    if (isPaused) lastByteAt = now
    const silenceMs = lastByteAt === undefined ? limits.firstByteMs : limits.idleMs
    const silenceEnd = (lastByteAt ?? startedAt) + silenceMs
    const totalEnd = startedAt + limits.totalMs
    if (now >= totalEnd)
      return expired(new GatewayError('vendor_timeout', `The vendor's answer took longer than ${limits.totalMs} ms.`))
    if (now >= silenceEnd)
      return expired(new GatewayError('vendor_timeout', `The vendor sent nothing for ${silenceMs} ms.`))
    // The first byte may come any moment, and from then on the other limit of silence counts.
    const soonest = lastByteAt === undefined ? now + limits.idleMs : silenceEnd
    stop = clock.after(Math.min(silenceEnd, totalEnd, soonest) - now, look)
  }

  return {
    alive() {
      lastByteAt = clock.elapsed()
    },
    pause(isOn: boolean) {
      isPaused = isOn
      lastByteAt = clock.elapsed()
    },
    stop: () => stop(),
  }
}
