import type { Tongue } from './tongue.ts'
import { chatTongue } from './tongue-chat.ts'
import { completionsTongue } from './tongue-completions.ts'
import { generateTongue } from './tongue-generate.ts'
import { messagesTongue } from './tongue-messages.ts'
import { responsesTongue } from './tongue-responses.ts'

/** Every dialect that is replayed, by the kind of its recordings. */
export const tongues: ReadonlyMap<string, Tongue> = new Map(
  [chatTongue, messagesTongue, generateTongue, responsesTongue, completionsTongue].map((tongue) => [
    tongue.kind,
    tongue,
  ]),
)

/** Those in which all can be asked for that the others say: a completion has neither thoughts nor tools. */
export const conversations: readonly Tongue[] = [...tongues.values()].filter((tongue) => tongue !== completionsTongue)
