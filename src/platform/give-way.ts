import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** How much less than the event loop the threads beside it get of a core that they share with it. */
const niceness = 10
const tasks = '/proc/self/task'

/**
 * Lets the threads of V8, which compile and collect, give way to the event loop where they share a core with it: its
 * four collectors together took four fifths of one, and calls waited for 60 to 110 ms (bench/profile.md). Returns how
 * many do: none where the system does not name its threads, as only Linux does.
 */
export function giveWay(): number {
  let given = 0
  for (const id of threads()) {
    try {
      if (readFileSync(`${tasks}/${id}/comm`, 'latin1').trimEnd() !== 'V8Worker') continue
      setPriority(Number(id), niceness)
      given += 1
    } catch {
      // It has ended, or may not be slowed down: it runs as before.
    }
  }
  return given
}

function threads(): readonly string[] {
  try {
    return readdirSync(tasks)
  } catch {
    return []
  }
}
