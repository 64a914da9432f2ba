import { escaped, generateContent } from './gemini.ts'

/** Keys of Google's; anything else is an access token of OAuth. */
const apiKey = /^(AIza|AQ\.)/

/**
 * Gemini on Vertex AI: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference. The base URL
 * names project and region, `https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION`, and the
 * key is an access token that whoever runs the gateway renews; with a key of express mode the base URL ends in `/v1`.
 * An adapter neither has a clock nor signs, so it makes no token out of a service account.
 */
export const vertex = generateContent({
  id: 'vertex',
  path: (model) => (model.includes('/') ? escaped(model) : `publishers/google/models/${escaped(model)}`),
  credential: (key) => (apiKey.test(key) ? { 'x-goog-api-key': key } : { authorization: `Bearer ${key}` }),
  hasTiers: false,
  wrapsCounting: false,
  hasBatches: false,
})
