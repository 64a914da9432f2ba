import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Crypto } from '../ports.ts'

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
/** The largest multiple of 62 below 256: bytes from there on would favour the first letters. */
const fairLimit = 248

/** Secrets and ids. `secret` keys the hashes of API keys: whoever has only the database cannot try keys. */
export function openCrypto(secret: string): Crypto {
  // A key object, because hashing with raw bytes costs six times as much.
  const key = createSecretKey(Buffer.from(secret, 'utf8'))
  return {
    keyHash: (text) => createHmac('sha256', key).update(text, 'utf8').digest('hex'),
    equal(a, b) {
      const left = Buffer.from(a, 'utf8')
      const right = Buffer.from(b, 'utf8')
      return left.length === right.length && timingSafeEqual(left, right)
    },
    uuidv7,
    secret: randomText,
  }
}

/** RFC 9562: 48 bits of milliseconds, then random. */
function uuidv7(nowMs: number): string {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(nowMs, 0, 6)
  bytes[6] = 0x70 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function randomText(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length))
      if (byte < fairLimit && text.length < length) text += letters[byte % letters.length]
  }
  return text
}
