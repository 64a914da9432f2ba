import { anthropic } from './anthropic.ts'
import { bedrock } from './bedrock.ts'
import { bedrockInvoke } from './bedrock-invoke.ts'
import { cohere } from './cohere.ts'
import { compatible } from './compatible.ts'
import { dashscope } from './dashscope.ts'
import { dify } from './dify.ts'
import { gemini } from './gemini.ts'
import { compatibleVendor } from './more-dialects.ts'
import { ollama } from './ollama.ts'
import { openaiCompletions } from './openai-completions.ts'
import { openaiResponses } from './openai-responses.ts'
import { withOperations } from './operations-compatible.ts'
import { sandbox } from './sandbox.ts'
import type { Vendor } from './vendor.ts'
import { vertex } from './vertex.ts'

/** Every adapter by its id. A new OpenAI-compatible vendor is one entry in compatible.ts. */
export const vendors: ReadonlyMap<string, Vendor> = new Map(
  [
    ...compatible.map((quirks) => withOperations(compatibleVendor(quirks), quirks)),
    anthropic,
    bedrock,
    bedrockInvoke,
    cohere,
    dashscope,
    dify,
    gemini,
    ollama,
    openaiCompletions,
    openaiResponses,
    sandbox,
    vertex,
  ].map((vendor) => [vendor.id, vendor]),
)
