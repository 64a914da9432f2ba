import type { JsonObject } from '../core/call.ts'
import { isObject, stringOf } from '../core/wire.ts'
import { azure } from './azure.ts'
import { dashscopeTroubles } from './dashscope.ts'
import { effortOf, type ReasoningWish } from './openai-inner.ts'
import type { ParameterTable } from './parameters.ts'
import type { Quirks } from './quirks.ts'

/*
 * Every vendor that takes and gives OpenAI's chat completions. What each one does otherwise was seen in recorded
 * traffic, or stands in the documentation that is named with it. Addresses are in addresses.ts. Keys are bearer tokens.
 */

/** What only OpenAI's own API has. */
const openaiOnly: ParameterTable = {
  prediction: 'drop',
  modalities: 'drop',
  audio: 'refuse',
  web_search_options: 'refuse',
  verbosity: 'drop',
  store: 'drop',
  metadata: 'drop',
  service_tier: 'drop',
}
const takesTopK: ParameterTable = { ...openaiOnly, top_k: 'pass' }

const threeEfforts: ReadonlySet<string> = new Set(['low', 'medium', 'high'])

/** The effort among low, medium and high; undefined for none at all. */
function threeWords(wish: ReasoningWish): string | undefined {
  const effort = effortOf(wish)
  if (effort === 'none') return undefined
  return threeEfforts.has(effort) ? effort : effort === 'minimal' ? 'low' : 'high'
}

function byThreeWords(wish: ReasoningWish): JsonObject | undefined {
  const effort = threeWords(wish)
  return effort === undefined ? undefined : { reasoning_effort: effort }
}

function bySwitch(wish: ReasoningWish): JsonObject {
  return { thinking: { type: effortOf(wish) === 'none' ? 'disabled' : 'enabled' } }
}

function byFlag(wish: ReasoningWish): JsonObject {
  const { maxTokens } = wish
  return {
    enable_thinking: effortOf(wish) !== 'none',
    ...(maxTokens !== undefined && maxTokens > 0 && { thinking_budget: maxTokens }),
  }
}

function byObject({ effort, maxTokens }: ReasoningWish): JsonObject {
  return { reasoning: maxTokens === undefined ? { effort: effort ?? 'medium' } : { max_tokens: maxTokens } }
}

/** https://platform.openai.com/docs/api-reference/chat */
const openai: Quirks = {
  id: 'openai',
  outputLimit: 'max_completion_tokens',
  reasoning: (wish, model) => (/^(o\d|gpt-5|gpt-oss)/.test(model) ? { reasoning_effort: effortOf(wish) } : undefined),
}

/** https://api-docs.deepseek.com: finish reasons and error codes. Money is 402, which needs no rule. */
const deepseek: Quirks = {
  id: 'deepseek',
  renames: { max_completion_tokens: 'max_tokens' },
  failedFinishes: ['insufficient_system_resource'],
  troubles: [
    { status: 400, message: /^content exists risk/i, trouble: 'policy' },
    { status: 400, message: /^model not exist/i, trouble: 'model' },
  ],
  parameters: { ...openaiOnly, n: 'refuse', seed: 'drop', logit_bias: 'drop', parallel_tool_calls: 'drop' },
  reasoning: bySwitch,
  takesBack: ['reasoning_content'],
}

/** Alibaba's DashScope in compatible mode, as documented at https://help.aliyun.com/zh/model-studio/error-code. */
const qwen: Quirks = {
  id: 'qwen',
  troubles: dashscopeTroubles,
  // Thinking is refused unless streamed, and these families answer in streams only.
  streamOnly: (body, model) => body['enable_thinking'] === true || /^(qwq|qvq|qwen[\d.]*-omni)/.test(model),
  parameters: { ...takesTopK, modalities: 'pass', audio: 'pass' },
  reasoning: byFlag,
  takesBack: ['reasoning_content'],
  marksCache: true,
}

/** Volcengine's Ark, as in its SDK: business codes are more telling than statuses. */
const doubao: Quirks = {
  id: 'doubao',
  troubles: [
    { code: /^(accountoverdue|authenticationerror|accessdenied|operationdenied\.serviceoverdue)/i, trouble: 'account' },
    { code: /^(modelnotopen|invalidendpointormodel|operationdenied\.servicenotopen)/i, trouble: 'model' },
    { code: /^(input|output)?(text|image|video|audio)?sensitivecontentdetected/i, trouble: 'policy' },
    { code: /^(ratelimitexceeded|quotaexceeded|serveroverloaded|requestbursttoofast)/i, trouble: 'busy' },
    { status: 400, message: /exceed(s|ed)? .{0,40}(max|context).{0,40}(length|tokens)/i, trouble: 'context' },
  ],
  parameters: { ...openaiOnly, n: 'refuse', seed: 'drop', service_tier: 'pass' },
  reasoning: bySwitch,
  takesBack: ['reasoning_content'],
}

/** https://docs.mistral.ai/api: fields that it does not know are 422, and usage comes without being asked for. */
const mistral: Quirks = {
  id: 'mistral',
  refusesStreamOptions: true,
  refusesReasoning: true,
  renames: { max_completion_tokens: 'max_tokens', seed: 'random_seed' },
  parameters: { ...openaiOnly, logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop', user: 'drop' },
  reasoning: (wish, model) =>
    /^mistral-(small|medium|large)|^magistral/.test(model)
      ? { reasoning_effort: effortOf(wish) === 'none' ? 'none' : 'high' }
      : undefined,
}

/** https://console.groq.com/docs/api-reference: `reasoning` beside the content; an error in mid-stream is an event. */
const groq: Quirks = {
  id: 'groq',
  refusesReasoning: true,
  troubles: [
    { status: 498, trouble: 'busy' },
    { status: 413, message: /request too large/i, trouble: 'busy' },
  ],
  parameters: { ...openaiOnly, n: 'refuse', logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop' },
  reasoning: (wish, model) => {
    if (model.includes('gpt-oss')) return byThreeWords(wish)
    return model.includes('qwen3') ? { reasoning_effort: effortOf(wish) === 'none' ? 'none' : 'default' } : undefined
  },
}

/** https://docs.x.ai/docs/api-reference: reasoning is counted beside the completion; a wrong key is 400. */
const xai: Quirks = {
  id: 'xai',
  troubles: [
    { status: 403, message: /content violates|usage guidelines|safety check/i, trouble: 'policy' },
    { status: 429, message: /used all available credits|spending limit/i, trouble: 'account' },
  ],
  parameters: { ...openaiOnly, logit_bias: 'drop', service_tier: 'pass' },
  reasoning: (wish, model) => (model.startsWith('grok-3-mini') ? byThreeWords(wish) : undefined),
  takesBack: ['reasoning_content'],
}

/** https://platform.moonshot.cn/docs/api/chat; keys of .cn and .ai are not the same. Some models put usage into the choice. */
const moonshot: Quirks = {
  id: 'moonshot',
  troubles: [{ code: /^engine_overloaded/i, trouble: 'busy' }],
  parameters: { ...openaiOnly, logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop', seed: 'drop' },
  reasoning: (wish, model) => (/^kimi-k2\.[5-9]/.test(model) ? bySwitch(wish) : undefined),
  takesBack: ['reasoning_content'],
}

/** https://docs.bigmodel.cn/cn/api/api-code: business codes as strings, money among them under 429. */
const zhipu: Quirks = {
  id: 'zhipu',
  renames: { max_completion_tokens: 'max_tokens' },
  troubles: [
    { code: /^(1000|1001|1002|1003|1004|111[0-3]|1120|1309)$/, trouble: 'account' },
    { code: /^(1211|1220|1221|1222)$/, trouble: 'model' },
    { code: /^1301$/, trouble: 'policy' },
    { code: /^1261$/, trouble: 'context' },
    { code: /^(1302|1303|1304|1305|1308|1312)$/, trouble: 'busy' },
    { code: /^(500|1230|1234)$/, trouble: 'down' },
  ],
  failedFinishes: ['network_error'],
  parameters: { ...openaiOnly, n: 'refuse', seed: 'drop', logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop' },
  reasoning: bySwitch,
  takesBack: ['reasoning_content'],
}

/** https://docs.cohere.com/docs/compatibility-api. Its own API, adapter `cohere`, tells more. */
const cohereCompatible: Quirks = {
  id: 'cohere-compatible',
  troubles: [{ status: 400, message: /^too many tokens/i, trouble: 'context' }],
  parameters: { ...openaiOnly, n: 'refuse', logit_bias: 'drop', top_logprobs: 'drop', parallel_tool_calls: 'drop' },
}

/** https://docs.perplexity.ai/api-reference: usage, its cost too, comes in each chunk unasked. */
const perplexity: Quirks = {
  id: 'perplexity',
  refusesStreamOptions: true,
  renames: { max_completion_tokens: 'max_tokens' },
  parameters: {
    ...takesTopK,
    n: 'refuse',
    tools: 'refuse',
    seed: 'drop',
    logit_bias: 'drop',
    logprobs: 'drop',
    top_logprobs: 'drop',
    web_search_options: 'pass',
  },
  reasoning: (wish, model) => (model.includes('deep-research') ? byThreeWords(wish) : undefined),
  thinksInText: true,
}

/** https://openrouter.ai/docs/api-reference: errors come as chunks, finish reasons twice; usage tells the cost. */
const openrouter: Quirks = {
  id: 'openrouter',
  troubles: [
    { status: 403, message: /flagged|moderation/i, trouble: 'policy' },
    { status: 404, message: /no (allowed |available )?(endpoints|providers)/i, trouble: 'model' },
  ],
  parameters: { ...takesTopK, prediction: 'pass', verbosity: 'pass', web_search_options: 'pass' },
  reasoning: byObject,
  takesBack: ['reasoning_details', 'reasoning_content'],
  marksCache: true,
  choosesVendors: true,
}

/** https://vercel.com/docs/ai-gateway/openai-compat: reasoning of some families is outside of the completion's count. */
const vercelGateway: Quirks = {
  id: 'vercel-gateway',
  parameters: { ...openaiOnly, top_k: 'drop' },
  reasoning: byObject,
  takesBack: ['reasoning_details'],
  marksCache: true,
}

/** https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html */
const vllm: Quirks = {
  id: 'vllm',
  parameters: takesTopK,
  reasoning: byThreeWords,
  takesBack: ['reasoning_content'],
  thinksInText: true,
}

/** https://platform.minimax.io/docs/api-reference/text-openai-api: failures are answers with a status of their own. */
const minimax: Quirks = {
  id: 'minimax',
  errorIn(body) {
    const said = body['base_resp']
    if (!isObject(said) || typeof said['status_code'] !== 'number' || said['status_code'] === 0) return undefined
    return { code: `minimax_${said['status_code']}`, message: stringOf(said['status_msg']) }
  },
  troubles: [
    { code: /^minimax_(1004|1008|2049|2056)$/, trouble: 'account' },
    { code: /^minimax_(1002|1041|2045)$/, trouble: 'busy' },
    { code: /^minimax_(1026|1027)$/, trouble: 'policy' },
    { code: /^minimax_1039$/, trouble: 'context' },
    { code: /^minimax_(1042|2013|20132)$/, trouble: 'request' },
    { code: /^minimax_(1000|1001|1013|1024|1033)$/, trouble: 'down' },
  ],
  parameters: { ...openaiOnly, n: 'refuse', logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop' },
  thinksInText: true,
}

/** https://docs.siliconflow.cn/cn/api-reference/chat-completions: codes of five digits in a flat body. */
const siliconflow: Quirks = {
  id: 'siliconflow',
  troubles: [
    { code: /^30001$/, trouble: 'account' },
    { code: /^20012$/, trouble: 'model' },
    { code: /^50505$/, trouble: 'down' },
  ],
  parameters: takesTopK,
  reasoning: byFlag,
  takesBack: ['reasoning_content'],
}

/** https://platform.stepfun.com/docs/api-reference/chat: 451 is the censor. */
const stepfun: Quirks = {
  id: 'stepfun',
  troubles: [{ status: 451, trouble: 'policy' }],
  parameters: { ...openaiOnly, n: 'refuse', seed: 'drop', logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop' },
  takesBack: ['reasoning_content'],
}

/** Servers and vendors without a habit that needs a word of code. */
const plain: readonly Quirks[] = [
  /** https://docs.together.ai/reference/chat-completions-1 */
  {
    id: 'together',
    parameters: takesTopK,
    reasoning: (wish, model) => (model.includes('gpt-oss') ? byThreeWords(wish) : undefined),
    thinksInText: true,
  },
  /** https://inference-docs.cerebras.ai/api-reference/chat-completions: an error is a flat body. */
  {
    id: 'cerebras',
    refusesReasoning: true,
    parameters: { ...openaiOnly, n: 'refuse', logit_bias: 'drop', frequency_penalty: 'drop', presence_penalty: 'drop' },
    reasoning: (wish, model) => (model.includes('gpt-oss') ? byThreeWords(wish) : undefined),
  },
  /** https://huggingface.co/docs/inference-providers: a router to many vendors; 402 is its own money. */
  { id: 'huggingface', parameters: openaiOnly, thinksInText: true },
  /** https://docs.ollama.com/api/openai-compatibility */
  { id: 'ollama', parameters: openaiOnly, reasoning: byThreeWords, thinksInText: true },
  /** https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md */
  { id: 'llamacpp', parameters: takesTopK, takesBack: ['reasoning_content'], thinksInText: true },
  /** https://lmstudio.ai/docs/developer/openai-compat */
  { id: 'lmstudio', parameters: takesTopK, thinksInText: true },
  /** https://docs.gpustack.ai: vLLM and others behind one address of the operator's. */
  { id: 'gpustack', parameters: takesTopK, reasoning: byFlag, takesBack: ['reasoning_content'], thinksInText: true },
  /** https://cloud.tencent.com/document/product/1729/111007 */
  { id: 'hunyuan', parameters: { ...openaiOnly, n: 'refuse' }, reasoning: byFlag, takesBack: ['reasoning_content'] },
  /** https://docs.api.nvidia.com/nim/reference/llm-apis */
  { id: 'nvidia', parameters: takesTopK, takesBack: ['reasoning_content'], thinksInText: true },
  /** https://docs.avian.io: the reason of the end comes in two chunks, usage with the second. */
  { id: 'avian', parameters: openaiOnly, takesBack: ['reasoning_content'] },
  /** https://ai.google.dev/gemini-api/docs/openai: hidden thinking is only in the total. Better use `gemini`. */
  {
    id: 'gemini-compatible',
    parameters: { ...openaiOnly, logit_bias: 'drop', logprobs: 'drop', top_logprobs: 'drop' },
    reasoning: byThreeWords,
  },
  /** https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html; keys are Bedrock API keys. */
  { id: 'bedrock-mantle', parameters: openaiOnly, reasoning: byThreeWords },
  /** Any other server of OpenAI's chat completions. */
  { id: 'openai-compatible', parameters: openaiOnly, takesBack: ['reasoning_content'], thinksInText: true },
]

/** A new OpenAI-compatible vendor is one entry, and its address. */
export const compatible: readonly Quirks[] = [
  openai,
  azure,
  deepseek,
  qwen,
  doubao,
  mistral,
  groq,
  xai,
  moonshot,
  zhipu,
  cohereCompatible,
  perplexity,
  openrouter,
  vercelGateway,
  vllm,
  minimax,
  siliconflow,
  stepfun,
  ...plain,
]
