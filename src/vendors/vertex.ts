import { escaped, generateContent } from './gemini.ts'
import { serviceAccount, tokenGrant } from './service-account.ts'
import type { VendorAccess } from './vendor.ts'

/** Keys of Google's; anything else is an access token of OAuth. */
const apiKey = /^(AIza|AQ\.)/
/** An address that names no project: `https://aiplatform.googleapis.com/v1`, or that of a region. */
const bare = /^https?:\/\/(?:(?<region>[a-z0-9-]+)-)?aiplatform\.[^/]+\/v1(?:beta1)?$/

/**
 * Gemini on Vertex AI: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference. The base URL
 * names project and region, `https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION`. The key is
 * the JSON of a service account, or an access token that whoever runs the gateway renews; with a key of express mode
 * the base URL ends in `/v1`. A service account knows its project: its base URL may end there too.
 */
export const vertex = generateContent({
  id: 'vertex',
  path: (model) => (model.includes('/') ? escaped(model) : `publishers/google/models/${escaped(model)}`),
  baseUrl: located,
  credential,
  proof(key) {
    const account = serviceAccount(key)
    return account && tokenGrant(account)
  },
  hasTiers: false,
  wrapsCounting: false,
  hasBatches: false,
})

function credential(key: string): Readonly<Record<string, string>> {
  if (serviceAccount(key)) return {}
  return apiKey.test(key) ? { 'x-goog-api-key': key } : { authorization: `Bearer ${key}` }
}

function located({ baseUrl, apiKey: key }: VendorAccess): string {
  const found = bare.exec(baseUrl)
  const project = found && serviceAccount(key)?.project
  if (!found || !project) return baseUrl
  return `${baseUrl}/projects/${encodeURIComponent(project)}/locations/${found.groups?.['region'] ?? 'global'}`
}
