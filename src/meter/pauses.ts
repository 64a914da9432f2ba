/** A source is paused while anybody wants it to be. */
export function openPauses(source: { pause(): void; resume(): void }) {
  const reasons = new Set<'money' | 'caller'>()
  return {
    add(reason: 'money' | 'caller'): void {
      if (reasons.size === 0) source.pause()
      reasons.add(reason)
    },
    delete(reason: 'money' | 'caller'): void {
      if (reasons.delete(reason) && reasons.size === 0) source.resume()
    },
    clear(): void {
      if (reasons.size > 0) source.resume()
      reasons.clear()
    },
  }
}
