import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Seal } from '../ports.ts'

/** AES-256-GCM: the nonce and the tag have the lengths that its standard recommends. */
const cipher = 'aes-256-gcm'
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
/** Says how it was sealed, so that another way may come after it. */
const version = 'v1.'

/**
 * Seals with a key that is derived from a secret, so that the secret may also serve for something else. A nonce is
 * drawn for each: after 2^32 of them one might come twice, which no operator's list of keys will reach.
 */
export function openSeal(secret: string): Seal {
  const key = new Uint8Array(hkdfSync('sha256', secret, '', 'tollgate vendor keys', keyBytes))
  return {
    seal(text, about) {
      const nonce = randomBytes(nonceBytes)
      const sealing = createCipheriv(cipher, key, nonce).setAAD(Buffer.from(about, 'utf8'))
      const sealed = Buffer.concat([sealing.update(text, 'utf8'), sealing.final()])
      return version + Buffer.concat([nonce, sealing.getAuthTag(), sealed]).toString('base64')
    },
    open(sealed, about) {
      const bytes = Buffer.from(sealed.slice(version.length), 'base64')
      if (!sealed.startsWith(version) || bytes.length < nonceBytes + tagBytes) return undefined
      const [nonce, tag] = [bytes.subarray(0, nonceBytes), bytes.subarray(nonceBytes, nonceBytes + tagBytes)]
      const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes })
      opening.setAAD(Buffer.from(about, 'utf8')).setAuthTag(tag)
      try {
        return opening.update(bytes.subarray(nonceBytes + tagBytes), undefined, 'utf8') + opening.final('utf8')
      } catch {
        return undefined // Sealed with another secret, for another place, or changed since.
      }
    },
  }
}
