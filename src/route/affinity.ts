import type { Call, Json } from '../core/call.ts'
import { drawOf } from '../core/draw.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import type { Clock } from '../ports.ts'

/**
 * Prompts that begin with so many equal characters belong together. Vendors cache from some 1,024 tokens on, which is
 * about this much text; a conversation keeps its beginning as it grows.
 */
const prefixLength = 4_096
/** Longer names of sessions are cut. */
const nameLength = 256
/** Sessions whose place is remembered, and for how long: vendors keep a prompt for five to ten minutes, some for an hour. */
const sessionLimit = 50_000
const rememberMs = 3_600_000

/**
 * What keeps the calls of an account together: its session, the vendor's own word for it, the user, or a prompt that
 * begins as others do. Undefined for a call that has nothing to share.
 */
export function affinityOf(accountId: number, call: Call, session: string | undefined): string | undefined {
  const own = [session, call.body['prompt_cache_key'], call.body['user']].map((name) => stringOf(name))
  const named = own.find((name) => name !== '')
  const what = named === undefined ? prefixOf(call.inner['messages']) : `s ${named.slice(0, nameLength)}`
  return what === undefined ? undefined : `${accountId} ${call.model} ${what}`
}

/** The beginning of a prompt as two hashes of 32 bits; undefined where it is too short to be worth caching. */
function prefixOf(messages: Json | undefined): string | undefined {
  let text = ''
  for (const message of objectsOf(messages)) {
    text += `${stringOf(message['role'])}\n${leading(message['content'], prefixLength - text.length)}`
    if (text.length >= prefixLength) break
  }
  if (text.length < prefixLength) return undefined
  const prefix = text.slice(0, prefixLength)
  return `p ${drawOf(prefix)} ${drawOf(`2${prefix}`)}`
}

function leading(content: Json | undefined, most: number): string {
  if (typeof content === 'string') return content.slice(0, most)
  let text = ''
  for (const part of objectsOf(content)) {
    if (text.length >= most) break
    const image = part['image_url']
    text += (stringOf(part['text']) || (isObject(image) ? stringOf(image['url']) : '')).slice(0, most - text.length)
  }
  return text
}

/** Where sessions were served last, in this process; the oldest are forgotten first. */
export interface Sessions {
  get(name: string): string | undefined
  set(name: string, target: string): void
}

export function openSessions(clock: Pick<Clock, 'elapsed'>): Sessions {
  const known = new Map<string, { readonly target: string; readonly untilMs: number }>()
  return {
    get(name) {
      const found = known.get(name)
      return found && found.untilMs > clock.elapsed() ? found.target : undefined
    },
    set(name, target) {
      known.delete(name)
      known.set(name, { target, untilMs: clock.elapsed() + rememberMs })
      if (known.size <= sessionLimit) return
      const [oldest = name] = known.keys()
      known.delete(oldest)
    },
  }
}
