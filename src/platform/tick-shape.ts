import { createHook } from 'node:async_hooks'

let kept: object | undefined

/**
 * Keeps one of the objects that Node makes for each `process.nextTick`. Their hidden class is made anew once the
 * garbage collector has run while none of them was alive, as it does in a process that is idle; V8 then takes the
 * place in Node where they are made for one of many kinds, for as long as the process lives, and each tick costs 0.4 µs
 * instead of 0.1 (bench/profile.md). A call has some fifteen of them, each event of a stream four.
 * Returns what it keeps; undefined where Node has no such objects any more.
 */
export function keepTickShape(): object | undefined {
  if (kept) return kept
  const hook = createHook({
    init(...[, type, , resource]: [id: number, type: string, trigger: number, resource: object]) {
      if (type === 'TickObject') kept = resource
    },
  })
  hook.enable()
  process.nextTick(() => {})
  hook.disable()
  return kept
}
