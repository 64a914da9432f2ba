import { createHook } from 'node:async_hooks'
import { setFlagsFromString } from 'node:v8'

/*
 * A process that is idle for some ten seconds collects its garbage two or three times, which gives memory back and also
 * forgets what V8 has learned: the hidden classes of objects of which none is alive just then, all machine code that was
 * made for them, and bytecode. The next calls cost twice as much, and it takes thousands of them until they do not
 * (bench/profile.md).
 */

/** What keeps V8 from forgetting when it collects for want of work. It collects all the same. */
export const warmFlag = '--no-memory-reducer-favors-memory'

let tick: object | undefined

/**
 * Keeps the process as fast as it was before it was idle. Returns what it keeps of Node's own: undefined where Node has
 * no such objects any more.
 */
export function stayWarm(): object | undefined {
  setFlagsFromString(warmFlag)
  tick ??= tickObject()
  return tick
}

/**
 * One of the objects that Node makes for each `process.nextTick`. V8 takes the place where they are made for one of many
 * hidden classes once their class was forgotten, for as long as the process lives, and each tick costs 0.4 µs in place
 * of 0.1. A call has some fifteen, each event of a stream four. While one of them is alive the class is.
 */
function tickObject(): object | undefined {
  let found: object | undefined
  const hook = createHook({
    init(...[, type, , resource]: [id: number, type: string, trigger: number, resource: object]) {
      if (type === 'TickObject') found = resource
    },
  })
  hook.enable()
  process.nextTick(() => {})
  hook.disable()
  return found
}
