/** What a vendor's headers say is left of one of its limits. */
export interface Remaining {
  readonly of: 'requests' | 'tokens'
  readonly left: number
  /** Of how much; undefined where that is not said. */
  readonly limit: number | undefined
  /** Milliseconds until it is whole again; undefined where that is not said. */
  readonly resetMs: number | undefined
}

/** A reset further away is taken for a fault. */
const longestResetMs = 24 * 3_600_000
const duration = /^(?:(\d{1,5})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,7}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?$/

/**
 * Reads the two spellings that are in use: `x-ratelimit-remaining-requests` with `x-ratelimit-reset-requests`, and
 * `…-ratelimit-requests-remaining` with `…-reset`. A reset is a duration (`6m0s`, `20ms`), seconds, or a date.
 */
export function remainingIn(headers: Readonly<Record<string, string>>, nowMs: number): readonly Remaining[] {
  const all: Remaining[] = []
  for (const [name, value] of Object.entries(headers)) {
    // Most headers are about something else, and each call asks about all of them.
    if (!name.includes('ratelimit')) continue
    const found =
      /^x-ratelimit-remaining-(requests|tokens)$/.exec(name) ??
      /^[a-z]+-ratelimit-(requests|tokens)-remaining$/.exec(name)
    const of = found?.[1]
    if ((of !== 'requests' && of !== 'tokens') || !/^\d{1,15}$/.test(value)) continue
    const reset = headers[name.replace('remaining', 'reset')]
    const limit = headers[name.replace('remaining', 'limit')] ?? ''
    all.push({
      of,
      left: +value,
      limit: /^\d{1,15}$/.test(limit) ? +limit : undefined,
      resetMs: reset === undefined ? undefined : resetIn(reset, nowMs),
    })
  }
  return all
}

function resetIn(text: string, nowMs: number): number | undefined {
  const ms = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? +text * 1000 : (durationMs(text) ?? Date.parse(text) - nowMs)
  return ms >= 0 && ms <= longestResetMs ? Math.ceil(ms) : undefined
}

function durationMs(text: string): number | undefined {
  const parts = text === '' ? null : duration.exec(text)
  if (!parts) return undefined
  const [hours = 0, minutes = 0, seconds = 0, ms = 0] = parts.slice(1).map((part) => +(part ?? 0))
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
}
