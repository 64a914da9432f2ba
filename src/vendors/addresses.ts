/** Where an adapter's vendor is reached unless the configuration says otherwise. */
export interface Address {
  /** Absent: it lies at a different address for every operator, who must say it. */
  readonly baseUrl?: string
  /** Answers inside this process: needs neither an address of the operator's nor a key. */
  readonly local?: true
}

/** Every adapter that a vendor of the configuration can name. */
export const addresses: Readonly<Record<string, Address>> = {
  openai: { baseUrl: 'https://api.openai.com/v1' },
  anthropic: { baseUrl: 'https://api.anthropic.com/v1' },
  gemini: { baseUrl: 'https://generativelanguage.googleapis.com/v1beta' },
  // Express mode; with an account of one's own the address names project and region.
  vertex: { baseUrl: 'https://aiplatform.googleapis.com/v1' },
  deepseek: { baseUrl: 'https://api.deepseek.com' },
  qwen: { baseUrl: 'https://dashscope.aliyuncs.com/compatible-mode/v1' },
  doubao: { baseUrl: 'https://ark.cn-beijing.volces.com/api/v3' },
  'openai-compatible': {},
  avian: { baseUrl: 'https://api.avian.io/v1' },
  azure: {},
  bedrock: {},
  // Anthropic's models at Bedrock, in Anthropic's own words.
  'bedrock-invoke': {},
  'bedrock-mantle': {},
  cerebras: { baseUrl: 'https://api.cerebras.ai/v1' },
  cohere: { baseUrl: 'https://api.cohere.com' },
  'cohere-compatible': { baseUrl: 'https://api.cohere.ai/compatibility/v1' },
  dashscope: { baseUrl: 'https://dashscope.aliyuncs.com/api/v1' },
  // The key names the app; the model its kind: chat-messages, completion-messages, workflows-run.
  dify: { baseUrl: 'https://api.dify.ai/v1' },
  'gemini-compatible': { baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai' },
  gpustack: {},
  groq: { baseUrl: 'https://api.groq.com/openai/v1' },
  huggingface: { baseUrl: 'https://router.huggingface.co/v1' },
  hunyuan: { baseUrl: 'https://api.hunyuan.cloud.tencent.com/v1' },
  llamacpp: { baseUrl: 'http://127.0.0.1:8080/v1' },
  lmstudio: { baseUrl: 'http://127.0.0.1:1234/v1' },
  minimax: { baseUrl: 'https://api.minimax.io/v1' },
  mistral: { baseUrl: 'https://api.mistral.ai/v1' },
  moonshot: { baseUrl: 'https://api.moonshot.cn/v1' },
  nvidia: { baseUrl: 'https://integrate.api.nvidia.com/v1' },
  ollama: { baseUrl: 'http://127.0.0.1:11434/v1' },
  'ollama-native': { baseUrl: 'http://127.0.0.1:11434' },
  // Models of OpenAI's that do not answer at chat completions.
  'openai-completions': { baseUrl: 'https://api.openai.com/v1' },
  'openai-responses': { baseUrl: 'https://api.openai.com/v1' },
  openrouter: { baseUrl: 'https://openrouter.ai/api/v1' },
  perplexity: { baseUrl: 'https://api.perplexity.ai' },
  siliconflow: { baseUrl: 'https://api.siliconflow.cn/v1' },
  stepfun: { baseUrl: 'https://api.stepfun.com/v1' },
  together: { baseUrl: 'https://api.together.ai/v1' },
  'vercel-gateway': { baseUrl: 'https://ai-gateway.vercel.sh/v1' },
  vllm: { baseUrl: 'http://127.0.0.1:8000/v1' },
  xai: { baseUrl: 'https://api.x.ai/v1' },
  zhipu: { baseUrl: 'https://open.bigmodel.cn/api/paas/v4' },
  sandbox: { baseUrl: 'sandbox:', local: true },
}

/** The adapter of a vendor whose configuration names none: the one of its own name, else the plainest. */
export function adapterOf(vendor: string, named: string | undefined): string {
  return named ?? (Object.hasOwn(addresses, vendor) ? vendor : 'openai')
}
