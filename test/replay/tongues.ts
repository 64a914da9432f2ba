import type { Tongue } from './tongue.ts'
import { chatTongue } from './tongue-chat.ts'
import { generateTongue } from './tongue-generate.ts'
import { messagesTongue } from './tongue-messages.ts'
import { responsesTongue } from './tongue-responses.ts'

/** Every dialect that is replayed, by the kind of its recordings. */
export const tongues: ReadonlyMap<string, Tongue> = new Map(
  [chatTongue, messagesTongue, generateTongue, responsesTongue].map((tongue) => [tongue.kind, tongue]),
)
