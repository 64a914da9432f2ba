import { createHash, createHmac } from 'node:crypto'
import type { Digest, Proving } from '../ports.ts'

const rs256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const

/** Runs on Node and at the edge alike. */
export const digest: Digest = {
  sha256: (data) => createHash('sha256').update(data).digest(),
  hmacSha256: (key, data) => createHmac('sha256', key).update(data, 'utf8').digest(),
}

/** Web Crypto: every platform has it, and it signs off the event loop. */
export const systemProving: Proving = {
  digest,
  async signRs256(privateKey, text) {
    const key = await crypto.subtle.importKey('pkcs8', derOf(privateKey), rs256, false, ['sign'])
    const signature = await crypto.subtle.sign(rs256.name, key, Buffer.from(text, 'utf8'))
    return Buffer.from(signature).toString('base64url')
  },
}

/** The bytes inside PEM. */
function derOf(pem: string): Uint8Array<ArrayBuffer> {
  const body = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----/.exec(pem)?.[1]
  if (body === undefined) throw new TypeError('it is no private key in PEM (PKCS #8)')
  return Uint8Array.from(Buffer.from(body, 'base64'))
}
