import { chat } from './chat.ts'
import type { Front } from './front.ts'

/** A front and where its callers find it. */
export interface Entrance {
  readonly path: string
  readonly front: Front
}

/** Every dialect of callers. A new one is one line. */
export const entrances: readonly Entrance[] = [{ path: '/v1/chat/completions', front: chat }]
