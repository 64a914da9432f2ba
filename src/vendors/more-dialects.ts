import { withCompletions } from './openai-completions.ts'
import { type ResponsesQuirks, withResponses } from './openai-responses.ts'
import { openaiCompatible } from './openai.ts'
import type { Quirks } from './quirks.ts'
import type { Vendor, VendorAccess } from './vendor.ts'
import { choosingVendors } from './vendors-of-its-own.ts'

/*
 * Compatible vendors that speak more of OpenAI's dialects than chat completions. Only those whose every model is said
 * to answer there: for the others a translation is sure to work.
 */

/** One address for all models, beside the three where chat completions are; see azure.ts. */
function azureResponses({ baseUrl }: VendorAccess): string {
  const resource = /^(?<resource>.*?)(?:\/openai)?\/(?:deployments|models)(?:\/[\d-]+(?:-preview)?)?$/.exec(baseUrl)
  return `${resource?.groups ? `${resource.groups['resource']}/openai/v1` : baseUrl}/responses`
}

/** Vendors that have the Responses API; each was recorded. */
const responses: ReadonlyMap<string, Pick<ResponsesQuirks, 'responsesUrl'>> = new Map([
  ['openai', {}],
  ['azure', { responsesUrl: azureResponses }],
  ['bedrock-mantle', {}],
  ['deepseek', {}],
  ['lmstudio', {}],
  ['openrouter', {}],
  ['xai', {}],
])

/** Vendors that complete prompts with every model that they serve. */
const completions: ReadonlySet<string> = new Set(['gpustack', 'llamacpp', 'lmstudio', 'ollama', 'together', 'vllm'])

/** The adapter of a compatible vendor, with all that it speaks. */
export function compatibleVendor(quirks: Quirks): Vendor {
  const chat = openaiCompatible(quirks)
  const vendor = completions.has(quirks.id) ? withCompletions(chat) : chat
  const more = responses.get(quirks.id)
  const speaking = more ? withResponses(vendor, { ...quirks, ...more }) : vendor
  return quirks.choosesVendors ? choosingVendors(speaking) : speaking
}
