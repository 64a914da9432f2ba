import { azureResponses } from './azure.ts'
import { withCompletions } from './openai-completions.ts'
import { openaiSeal, type ResponsesQuirks, withResponses } from './openai-responses.ts'
import { openaiCompatible } from './openai.ts'
import type { Quirks } from './quirks.ts'
import type { Vendor } from './vendor.ts'
import { choosingVendors } from './vendors-of-its-own.ts'

/*
 * Compatible vendors that speak more of OpenAI's dialects than chat completions. Only those whose every model is said
 * to answer there: for the others a translation is sure to work.
 */

/** Vendors that have the Responses API; each was recorded, and so were the seals of those that encrypt reasoning. */
const responses: ReadonlyMap<string, Pick<ResponsesQuirks, 'responsesUrl' | 'seal'>> = new Map<
  string,
  Pick<ResponsesQuirks, 'responsesUrl' | 'seal'>
>([
  ['openai', { seal: openaiSeal }],
  ['azure', { responsesUrl: azureResponses, seal: openaiSeal }],
  ['bedrock-mantle', { seal: /^rsn_/ }],
  ['deepseek', { seal: /^[\da-f]{8}-[\da-f]{4}-/ }],
  ['lmstudio', {}],
  // It passes on what its vendors have made.
  ['openrouter', {}],
  // Bytes without a mark of their own: whatever has none of the others'.
  ['xai', { seal: /^(?!gAAAA|rsn_|[\da-f]{8}-[\da-f]{4}-)/ }],
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
