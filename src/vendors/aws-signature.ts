import { CredentialRefused } from '../core/credential-refused.ts'
import type { Digest, Signature, VendorRequest } from '../ports.ts'

/*
 * Signature Version 4 of AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
 * The time and the hashing come from outside, so that the same inputs have the same signature anywhere.
 */

/** An access key of IAM, or what STS lends for a while. */
export interface AwsKey {
  readonly id: string
  readonly secret: string
  readonly sessionToken?: string
}

/** For whom a signature is good. */
export interface AwsScope {
  /** Undefined where neither the address nor the target names one. */
  readonly region: string | undefined
  readonly service: string
}

/** As `ID:SECRET` or `ID:SECRET:SESSION_TOKEN`; keys of the vendor's own for bearers have no colon. */
const keyForm = /^(?<id>[A-Z0-9]{16,128}):(?<secret>[A-Za-z0-9+/=]{16,128})(?::(?<token>[A-Za-z0-9+/=_-]{16,4096}))?$/
const algorithm = 'AWS4-HMAC-SHA256'
const ending = 'aws4_request'
/** Beside those that begin with this: what is on its way anyway may be changed on its way. */
const ownPrefix = 'x-amz-'
const encoder = new TextEncoder()

/** Undefined for a key that is no access key. */
export function awsKey(text: string): AwsKey | undefined {
  const { id, secret, token } = keyForm.exec(text)?.groups ?? {}
  if (id === undefined || secret === undefined) return undefined
  return { id, secret, ...(token !== undefined && { sessionToken: token }) }
}

/** The proof of a request by an access key. */
export function awsSignature(key: AwsKey, { region, service }: AwsScope): Signature {
  return {
    kind: 'signature',
    headers(request, nowMs, digest) {
      if (region === undefined)
        throw new CredentialRefused('neither the address of the vendor nor the target names a region to sign for')
      return signed(request, { key, region, service, nowMs, digest })
    },
  }
}

interface Signing {
  readonly key: AwsKey
  readonly region: string
  readonly service: string
  readonly nowMs: number
  readonly digest: Digest
}

function signed(request: VendorRequest, { key, digest, ...signing }: Signing): Readonly<Record<string, string>> {
  const time = timeOf(signing.nowMs)
  const added = {
    [`${ownPrefix}date`]: time,
    ...(key.sessionToken !== undefined && { [`${ownPrefix}security-token`]: key.sessionToken }),
  }
  const { names, text } = canonicalRequest(request, added, digest)
  const scope = [time.slice(0, 8), signing.region, signing.service, ending]
  const toSign = [algorithm, time, scope.join('/'), hex(digest.sha256(text))].join('\n')
  const secret: Uint8Array = encoder.encode(`AWS4${key.secret}`)
  const signingKey = scope.reduce((last, part) => digest.hmacSha256(last, part), secret)
  const signature = hex(digest.hmacSha256(signingKey, toSign))
  const credential = `${key.id}/${scope.join('/')}`
  return {
    ...added,
    authorization: `${algorithm} Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`,
  }
}

/** `20150830T123600Z`. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}|[-:]/g, '')
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

interface Canonical {
  readonly names: string
  readonly text: string
}

function canonicalRequest(
  { method, url, headers, body }: VendorRequest,
  added: Readonly<Record<string, string>>,
  digest: Digest,
): Canonical {
  const { host, pathname, searchParams } = new URL(url)
  const told = Object.entries({ ...headers, ...added, host }).map(
    ([name, value]) => [name.toLowerCase(), value] as const,
  )
  const kept = told
    .filter(([name]) => name === 'host' || name === 'content-type' || name.startsWith(ownPrefix))
    .toSorted(([a], [b]) => inOrder(a, b))
  const names = kept.map(([name]) => name).join(';')
  const lines = kept.map(([name, value]) => `${name}:${value.trim().replaceAll(/ +/g, ' ')}\n`).join('')
  const text = [method, escapedPath(pathname), query(searchParams), lines, names, hex(digest.sha256(body))].join('\n')
  return { names, text }
}

/** What the path of a URL has escaped already is escaped once more: this is so for all services but one. */
function escapedPath(path: string): string {
  return path.split('/').map(escaped).join('/')
}

function query(params: URLSearchParams): string {
  return [...params]
    .map(([name, value]) => [escaped(name), escaped(value)] as const)
    .toSorted(([a, x], [b, y]) => inOrder(a, b) || inOrder(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** All but the unreserved characters of RFC 3986. */
function escaped(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** By code points, as the signature is: no language's order. */
function inOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
