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
 * drawn for each: after 2^32 of them one might come twice, which no operator's list of keys will reach. What was sealed
 * with one of the `earlier` secrets still opens.
 */
export function openSeal(secret: string, earlier: readonly string[] = []): Seal {
  const key = derived(secret)
  const keys = [key, ...earlier.map(derived)]
  const seal: Seal['seal'] = (text, about) => sealed(key, text, about)
  return {
    seal,
    open: (text, about) => firstOf(keys, text, about)?.plain,
    reseal(text, about) {
      const found = firstOf(keys, text, about)
      if (!found) return { state: 'unreadable' }
      return found.key === key ? { state: 'current' } : { state: 'resealed', sealed: seal(found.plain, about) }
    },
  }
}

function derived(secret: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', 'tollgate vendor keys', keyBytes))
}

function sealed(key: Uint8Array, text: string, about: string): string {
  const nonce = randomBytes(nonceBytes)
  const sealing = createCipheriv(cipher, key, nonce).setAAD(Buffer.from(about, 'utf8'))
  const bytes = Buffer.concat([sealing.update(text, 'utf8'), sealing.final()])
  return version + Buffer.concat([nonce, sealing.getAuthTag(), bytes]).toString('base64')
}

/** The key that opens it, and what it holds: each is tried, and the tag says which is right. */
function firstOf(keys: readonly Uint8Array[], text: string, about: string) {
  for (const key of keys) {
    const plain = opened(key, text, about)
    if (plain !== undefined) return { key, plain }
  }
  return undefined
}

function opened(key: Uint8Array, text: string, about: string): string | undefined {
  const bytes = Buffer.from(text.slice(version.length), 'base64')
  if (!text.startsWith(version) || bytes.length < nonceBytes + tagBytes) return undefined
  const [nonce, tag] = [bytes.subarray(0, nonceBytes), bytes.subarray(nonceBytes, nonceBytes + tagBytes)]
  const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes })
  opening.setAAD(Buffer.from(about, 'utf8')).setAuthTag(tag)
  try {
    return opening.update(bytes.subarray(nonceBytes + tagBytes), undefined, 'utf8') + opening.final('utf8')
  } catch {
    return undefined // Sealed with another secret, for another place, or changed since.
  }
}
