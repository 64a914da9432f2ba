import { toBase64 } from '../core/base64.ts'
import type { Json, JsonObject } from '../core/call.ts'
import { isObject, parseJson, stringOf } from '../core/wire.ts'
import type { AccessToken, TokenGrant } from '../ports.ts'

/*
 * Service accounts of Google Cloud: https://developers.google.com/identity/protocols/oauth2/service-account. Their JSON
 * holds a private key; an assertion that is signed with it gets an access token for an hour (RFC 7523).
 */

const scope = 'https://www.googleapis.com/auth/cloud-platform'
const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
/** The longest that an assertion may hold there. */
const assertionSeconds = 3_600
const connectMs = 5_000
/** What says that it holds longer than this says nothing. */
const longestLifeSeconds = 86_400
const encoder = new TextEncoder()

export interface ServiceAccount {
  readonly email: string
  readonly project: string
  readonly privateKey: string
  /** Empty where the account does not name its key. */
  readonly keyId: string
  readonly tokenUrl: string
}

/** Reads the JSON of a service account; undefined for any other key, and where something of it is missing. */
export function serviceAccount(text: string): ServiceAccount | undefined {
  const said = text.trimStart().startsWith('{') ? parseJson(encoder.encode(text)) : undefined
  if (!isObject(said)) return undefined
  const account = {
    email: stringOf(said['client_email']),
    project: stringOf(said['project_id']),
    privateKey: stringOf(said['private_key']),
    keyId: stringOf(said['private_key_id']),
    tokenUrl: stringOf(said['token_uri']),
  }
  const isWhole = account.email !== '' && account.privateKey !== '' && isTokenUrl(account.tokenUrl)
  return isWhole ? account : undefined
}

/** What is sent there is as good as the key for an hour: in the clear it goes no further than this machine. */
function isTokenUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '') return false
  if (url.protocol === 'https:') return true
  return url.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)
}

/** The token that a service account may have. */
export function tokenGrant(account: ServiceAccount): TokenGrant {
  const { email, keyId, privateKey, tokenUrl } = account
  return {
    kind: 'token',
    id: [tokenUrl, email, keyId, privateKey].join('\n'),
    privateKey,
    assertion: (nowMs) => assertionOf(account, Math.floor(nowMs / 1_000)),
    request: (signed) => ({
      method: 'POST',
      url: tokenUrl,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: encoder.encode(new URLSearchParams({ grant_type: grantType, assertion: signed }).toString()),
      connectMs,
    }),
    token: tokenIn,
  }
}

function assertionOf({ email, keyId, tokenUrl }: ServiceAccount, nowSeconds: number): string {
  const header = { alg: 'RS256', typ: 'JWT', ...(keyId !== '' && { kid: keyId }) }
  const claims = { iss: email, sub: email, scope, aud: tokenUrl, iat: nowSeconds, exp: nowSeconds + assertionSeconds }
  return `${base64url(header)}.${base64url(claims)}`
}

function base64url(value: Json): string {
  const text = toBase64(encoder.encode(JSON.stringify(value)))
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** A header must be able to carry the token. */
function tokenIn({ access_token: token, expires_in: life }: JsonObject): AccessToken | undefined {
  if (typeof token !== 'string' || !/^[\x21-\x7e]{1,8192}$/.test(token)) return undefined
  if (typeof life !== 'number' || !(life > 0)) return undefined
  return { text: token, lifeMs: Math.min(life, longestLifeSeconds) * 1_000 }
}
