import type { Crypto } from '../ports.ts'

const publicIdLength = 12
const secretLength = 40

/** A new key. `key` is shown once and kept nowhere; `publicId` may stand in logs; `hash` is what is stored. */
export interface Minted {
  readonly key: string
  readonly publicId: string
  readonly hash: string
}

/** Makes a key of 238 random bits: `sk-tg-<publicId>-<secret>`. */
export function mintKey(crypto: Crypto): Minted {
  const publicId = crypto.secret(publicIdLength)
  const key = `sk-tg-${publicId}-${crypto.secret(secretLength)}`
  return { key, publicId, hash: crypto.keyHash(key) }
}
