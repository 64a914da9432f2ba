import { effortOf } from './openai-inner.ts'
import type { Quirks } from './quirks.ts'
import type { VendorAccess } from './vendor.ts'

/*
 * Azure OpenAI and Azure AI Foundry: https://learn.microsoft.com/azure/ai-foundry/openai/reference. The base URL says
 * which of the three addresses is meant, and the vendor's model is the name of the deployment:
 * - https://RESOURCE.openai.azure.com/openai/v1: the model is in the body, no version is needed; the resource alone is
 *   the same, as it is called in the environment of Azure's SDKs;
 * - https://RESOURCE.openai.azure.com/openai/deployments: the model is in the path. With a deployment's own address,
 *   https://RESOURCE.openai.azure.com/openai/deployments/NAME, that one is called, whatever the model;
 * - https://RESOURCE.services.ai.azure.com/models: the model is in the body.
 * The latter two want a dated version: the last generally available one, unless the base URL ends in another, as in
 * …/openai/deployments/2024-12-01-preview. What a portal shows behind a deployment (/chat/completions) may stay.
 */

const deploymentsVersion = '2024-10-21'
const modelsVersion = '2024-05-01-preview'
const resourceAlone =
  /^(?<resource>https:\/\/[^/]+\.(?:openai|services\.ai|cognitiveservices)\.azure\.(?:com|us|cn))(?:\/openai)?$/
const dated =
  /^(?<base>(?<resource>.*?)(?:\/openai)?\/(?<form>deployments|models))(?:\/(?!\d{4}-\d\d-\d\d)(?<deployment>[^/]+))?(?:\/(?<version>\d{4}-\d\d-\d\d(?:-preview)?))?(?:\/chat\/completions)?$/

/** The parts of a base URL. */
interface AzureAddress {
  /** What comes before the path of an interface. */
  readonly resource: string
  readonly form: 'v1' | 'deployments' | 'models'
  /** Of `deployments` and `models`: where the interface is. */
  readonly base: string
  readonly version?: string
  /** In place of the model. */
  readonly deployment?: string
}

function addressOf(baseUrl: string): AzureAddress {
  const alone = resourceAlone.exec(baseUrl)?.groups?.['resource']
  const { resource = baseUrl, base = baseUrl, form, version, deployment } = dated.exec(baseUrl)?.groups ?? {}
  if (alone !== undefined) return { resource: alone, form: 'v1', base: `${alone}/openai/v1` }
  if (form === undefined) return { resource, form: 'v1', base: baseUrl }
  return {
    resource,
    form: form === 'models' ? 'models' : 'deployments',
    base,
    ...(version !== undefined && { version }),
    ...(deployment !== undefined && { deployment }),
  }
}

/** Where its Responses API is: at one address for all models, beside the three where chat completions are. */
export function azureResponses({ baseUrl }: Pick<VendorAccess, 'baseUrl'>): string {
  const { resource, form, base } = addressOf(baseUrl)
  return form === 'v1' ? `${base}/responses` : `${resource}/openai/v1/responses`
}

export const azure: Quirks = {
  id: 'azure',
  url({ baseUrl }, model) {
    const { form, base, version, deployment } = addressOf(baseUrl)
    if (form === 'deployments') {
      const path = `${base}/${deployment ?? encodeURIComponent(model)}/chat/completions`
      return `${path}?api-version=${version ?? deploymentsVersion}`
    }
    if (form === 'models') return `${base}/chat/completions?api-version=${version ?? modelsVersion}`
    return `${base}/chat/completions`
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
