import type { Call, JsonObject, Target } from '../core/call.ts'
import { findMember, removeMembers, setMember } from '../core/json-bytes.ts'
import type { Proof } from '../ports.ts'
import { geminiReader, geminiReply } from './gemini-answer.ts'
import { geminiFailure } from './gemini-failure.ts'
import { translate } from './gemini-request.ts'
import { withoutForeign } from './gemini-signatures.ts'
import { googleEmbeddings } from './operations-google.ts'
import { ownFields } from './own-fields.ts'
import type { Vendor, VendorAccess } from './vendor.ts'

/** What sets one of Google's two addresses apart from the other. */
export interface GoogleSite {
  readonly id: string
  /** The path of a model below the base URL. */
  path(model: string): string
  credential(apiKey: string): Readonly<Record<string, string>>
  /** What is sent in place of a key that is not sent itself; absent: every key is. */
  proof?(apiKey: string): Proof | undefined
  /** Where it is reached, where the key has a say in it. */
  baseUrl?(access: VendorAccess): string
  /** Its requests can name a service tier. */
  readonly hasTiers: boolean
  /** Its countTokens wants the whole request in a member of its own; else beside each other, as it is sent. */
  readonly wrapsCounting: boolean
  /** It makes vectors of several contents at once. */
  readonly hasBatches: boolean
}

/** The model is in the URL, and the gateway's own options are nobody else's. */
const unsent: readonly string[] = ['model', ...ownFields]

const encoder = new TextEncoder()

/** An adapter for Google's generateContent, at one of the addresses where it is offered. */
export function generateContent(site: GoogleSite): Vendor {
  return {
    id: site.id,
    speaks: ['generate'],
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request(call, target, access, stream) {
      const { bytes, dropped } = bodyOf(site, call, target)
      const method = stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
      return { ...sent(site, { target, access, method, stream }), body: bytes, ...(dropped.length > 0 && { dropped }) }
    },
    reader: geminiReader,
    reply: (body, options) => geminiReply(body, options),
    failure: geminiFailure,
    operations: { embeddings: googleEmbeddings(site) },
    counting: {
      request(call, target, access) {
        return {
          ...sent(site, { target, access, method: 'countTokens', stream: false }),
          body: countBody(site, call, target),
        }
      },
      tokens: ({ totalTokens: total }) =>
        typeof total === 'number' && Number.isSafeInteger(total) && total >= 0 ? total : undefined,
    },
  }
}

/** Google's Gemini API: https://ai.google.dev/api/generate-content. Its key goes in a header; in the URL logs would have it. */
export const gemini = generateContent({
  id: 'gemini',
  path: (model) => (/^(tuned)?models\//i.test(model) ? escaped(model) : `models/${escaped(model)}`),
  credential: (apiKey) => ({ 'x-goog-api-key': apiKey }),
  hasTiers: true,
  wrapsCounting: true,
  hasBatches: true,
})

/** A model's name as part of a path; names with slashes are paths already. */
export function escaped(model: string): string {
  return model.split('/').map(encodeURIComponent).join('/')
}

interface Sent {
  readonly target: Target
  readonly access: VendorAccess
  readonly method: string
  readonly stream: boolean
}

function sent(site: GoogleSite, { target, access, method, stream }: Sent) {
  const { apiKey, connectMs } = access
  const proof = site.proof?.(apiKey)
  return {
    method: 'POST' as const,
    url: `${site.baseUrl?.(access) ?? access.baseUrl}/${site.path(target.model)}:${method}`,
    headers: {
      'content-type': 'application/json',
      accept: stream ? 'text/event-stream' : 'application/json',
      // A compressed stream comes in bursts, and its bytes could not be passed on as they are.
      'accept-encoding': 'identity',
      ...(apiKey === '' ? {} : site.credential(apiKey)),
    },
    connectMs,
    ...(proof && { proof }),
  }
}

interface Body {
  readonly bytes: Uint8Array
  readonly dropped: readonly string[]
}

/** The caller's own bytes without our fields, or his request in Google's words. */
function bodyOf(site: GoogleSite, call: Call, { model }: Target): Body {
  if (call.dialect === 'generate')
    return { bytes: withoutForeign(removeMembers(call.raw, unsent), call.body['contents'], model), dropped: [] }
  const { body, dropped } = translate(call.inner, model)
  const { serviceTier: tier, ...rest } = body
  if (tier === undefined || site.hasTiers) return { bytes: written(body), dropped }
  return { bytes: written(rest), dropped: [...dropped, 'service_tier'] }
}

const wrapper = 'generateContentRequest'
/** Countings take nothing that only says how to answer. */
const countless: readonly string[] = ['model', 'generationConfig', 'generation_config', 'serviceTier', 'service_tier']

/** A request to be counted: a caller's own may have either form, and each address takes one. */
function countBody(site: GoogleSite, call: Call, target: Target): Uint8Array {
  const { bytes } = bodyOf(site, call, target)
  const wrapped = findMember(bytes, wrapper)
  const isPlain = !wrapped || bytes[wrapped.valueStart] !== 0x7b
  if (isPlain && (call.dialect === 'generate' || !site.wrapsCounting)) return removeMembers(bytes, countless)
  const inside = removeMembers(isPlain ? bytes : bytes.slice(wrapped.valueStart, wrapped.valueEnd), countless)
  if (!site.wrapsCounting) return inside
  const named = setMember(inside, 'model', encoder.encode(JSON.stringify(site.path(target.model))))
  return setMember(encoder.encode('{}'), wrapper, named)
}

function written(body: JsonObject): Uint8Array {
  return encoder.encode(JSON.stringify(body))
}
