import { effortOf } from './openai-inner.ts'
import type { Quirks } from './quirks.ts'

/*
 * Azure OpenAI and Azure AI Foundry: https://learn.microsoft.com/azure/ai-foundry/openai/reference. The base URL says
 * which of the three addresses is meant, and the vendor's model is the name of the deployment:
 * - https://RESOURCE.openai.azure.com/openai/v1: the model is in the body, no version is needed;
 * - https://RESOURCE.openai.azure.com/openai/deployments: the model is in the path;
 * - https://RESOURCE.services.ai.azure.com/models: the model is in the body.
 * The latter two want a dated version: the last generally available one, unless the base URL ends in another, as in
 * …/openai/deployments/2024-12-01-preview.
 */

const deploymentsVersion = '2024-10-21'
const modelsVersion = '2024-05-01-preview'
const dated = /^(?<base>.*\/(?<form>deployments|models))(?:\/(?<version>\d{4}-\d\d-\d\d(?:-preview)?))?$/

export const azure: Quirks = {
  id: 'azure',
  url({ baseUrl }, model) {
    const { base = baseUrl, form, version } = dated.exec(baseUrl)?.groups ?? {}
    if (form === 'deployments') {
      const path = `${base}/${encodeURIComponent(model)}/chat/completions`
      return `${path}?api-version=${version ?? deploymentsVersion}`
    }
    if (form === 'models') return `${base}/chat/completions?api-version=${version ?? modelsVersion}`
    return `${baseUrl}/chat/completions`
  },
  // A token of Entra ID is a JWT, a key is not.
  keyHeaders: (apiKey): Readonly<Record<string, string>> =>
    apiKey.startsWith('eyJ') ? { authorization: `Bearer ${apiKey}` } : { 'api-key': apiKey },
  troubles: [
    { code: /^(DeploymentNotFound|unknown_model|ModelNotFound)$/i, trouble: 'model' },
    { code: /^(RateLimitReached|TooManyRequests)$/i, trouble: 'busy' },
    { code: /^ResponsibleAIPolicyViolation$/i, trouble: 'policy' },
    { status: 404, message: /^resource not found/i, trouble: 'model' },
  ],
  outputLimit: 'max_completion_tokens',
  reasoning: (wish, model) => (/(^|[-_])(o\d|gpt-5)/.test(model) ? { reasoning_effort: effortOf(wish) } : undefined),
}
