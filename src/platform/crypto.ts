import { createHmac, createSecretKey, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Crypto } from '../ports.ts'

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
/** The largest multiple of 62 below 256: bytes from there on would favour the first letters. */
const fairLimit = 248

/** Secrets and ids. `secret` keys the hashes of API keys: whoever has only the database cannot try keys. */
export function openCrypto(secret: string): Crypto {
  // A key object, because hashing with raw bytes costs six times as much.
  const key = createSecretKey(Buffer.from(secret, 'utf8'))
  const hashOf = (text: string): string => createHmac('sha256', key).update(text, 'utf8').digest('hex')
  return {
    keyHash: remembering(hashOf),
    equal(a, b) {
      const left = Buffer.from(a, 'utf8')
      const right = Buffer.from(b, 'utf8')
      return left.length === right.length && timingSafeEqual(left, right)
    },
    uuidv7,
    secret: randomText,
  }
}

/** Longer texts are no keys of ours, and seldom come twice. */
const rememberedLength = 128
const remembered = 4_096

/**
 * The same keys come again and again, and a keyed hash of one costs several times a plain one. What is remembered is
 * found by the plain hash, so that no key stays in memory.
 */
function remembering(hashOf: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>()
  return (text) => {
    if (text.length > rememberedLength) return hashOf(text)
    const name = hash('sha256', text, 'hex')
    const found = known.get(name)
    if (found !== undefined) return found
    const made = hashOf(text)
    if (known.size >= remembered) known.clear()
    known.set(name, made)
    return made
  }
}

const idBytes = 10
/** Asking the system for few bytes costs as much as for many. */
const pool = { bytes: new Uint8Array(0), at: 0 }
const poolBytes = 4_000

function nextRandom(): number {
  if (pool.at + idBytes > pool.bytes.length) Object.assign(pool, { bytes: randomBytes(poolBytes), at: 0 })
  const at = pool.at
  pool.at += idBytes
  return at
}

const byteText = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** RFC 9562: 48 bits of milliseconds, then random. */
function uuidv7(nowMs: number): string {
  const at = nextRandom()
  const { bytes } = pool
  const hex = (from: number, to: number): string => {
    let text = ''
    for (let next = at + from; next < at + to; next++) text += byteText[bytes[next]!]
    return text
  }
  const time = nowMs.toString(16).padStart(12, '0')
  const version = byteText[0x70 | (bytes[at]! & 0x0f)]
  const variant = byteText[0x80 | (bytes[at + 2]! & 0x3f)]
  return `${time.slice(0, 8)}-${time.slice(8)}-${version}${hex(1, 2)}-${variant}${hex(3, 4)}-${hex(4, 10)}`
}

function randomText(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length))
      if (byte < fairLimit && text.length < length) text += letters[byte % letters.length]
  }
  return text
}
