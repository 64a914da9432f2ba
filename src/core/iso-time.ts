const second = { at: Number.NaN, text: '' }

/**
 * A moment in ms since 1970 as ISO 8601 in UTC, as `toISOString` writes it. A call asks for half a dozen that lie within a
 * second or two, so the text of the last second is remembered: that takes a fifth of the time. Throws RangeError for
 * what is no time.
 */
export function isoTime(ms: number): string {
  const at = Math.trunc(ms)
  const whole = Math.floor(at / 1_000)
  if (whole !== second.at) {
    second.text = new Date(whole * 1_000).toISOString().slice(0, -'000Z'.length)
    second.at = whole
  }
  const rest = at - whole * 1_000
  return `${second.text}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`
}
