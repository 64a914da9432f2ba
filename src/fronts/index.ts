import { chat } from './chat.ts'
import type { Front } from './front.ts'
import { generate } from './generate.ts'
import { messages } from './messages.ts'

/** Every dialect of callers. A new one is one line. */
export const fronts: readonly Front[] = [chat, messages, generate]

/** The dialect in which an error under this path is told: that of the longest prefix. */
export function frontFor(path: string): Front {
  let best: { readonly front: Front; readonly length: number } = { front: chat, length: 0 }
  for (const front of fronts) {
    for (const prefix of front.prefixes) {
      if (path.startsWith(prefix) && prefix.length > best.length) best = { front, length: prefix.length }
    }
  }
  return best.front
}
