/** How public price lists name the vendors behind our adapters. */
interface ListNames {
  readonly litellm: string
  /** Absent: the list does not have it. */
  readonly modelsDev?: string
}

export const listNames = {
  adapters: new Map<string, ListNames>([
    ['openai', { litellm: 'openai', modelsDev: 'openai' }],
    ['gemini', { litellm: 'gemini', modelsDev: 'google' }],
    ['vertex', { litellm: 'vertex_ai-language-models', modelsDev: 'google-vertex' }],
    ['deepseek', { litellm: 'deepseek', modelsDev: 'deepseek' }],
    ['qwen', { litellm: 'dashscope', modelsDev: 'alibaba' }],
    ['doubao', { litellm: 'volcengine' }],
    ['azure', { litellm: 'azure', modelsDev: 'azure' }],
    ['bedrock', { litellm: 'bedrock_converse', modelsDev: 'amazon-bedrock' }],
    ['bedrock-mantle', { litellm: 'bedrock_mantle', modelsDev: 'amazon-bedrock' }],
    ['cerebras', { litellm: 'cerebras' }],
    ['cohere', { litellm: 'cohere_chat', modelsDev: 'cohere' }],
    ['cohere-compatible', { litellm: 'cohere_chat', modelsDev: 'cohere' }],
    ['dashscope', { litellm: 'dashscope', modelsDev: 'alibaba' }],
    ['gemini-compatible', { litellm: 'gemini', modelsDev: 'google' }],
    ['groq', { litellm: 'groq', modelsDev: 'groq' }],
    ['minimax', { litellm: 'minimax' }],
    ['mistral', { litellm: 'mistral', modelsDev: 'mistral' }],
    ['moonshot', { litellm: 'moonshot', modelsDev: 'moonshotai' }],
    ['nvidia', { litellm: 'nvidia_nim' }],
    ['openai-completions', { litellm: 'text-completion-openai', modelsDev: 'openai' }],
    ['openai-responses', { litellm: 'openai', modelsDev: 'openai' }],
    ['openrouter', { litellm: 'openrouter', modelsDev: 'openrouter' }],
    ['perplexity', { litellm: 'perplexity', modelsDev: 'perplexity' }],
    ['together', { litellm: 'together_ai' }],
    ['vercel-gateway', { litellm: 'vercel_ai_gateway' }],
    ['xai', { litellm: 'xai', modelsDev: 'xai' }],
    ['zhipu', { litellm: 'zai', modelsDev: 'zai' }],
  ]),
  /** Vendors whose `above N` means N tokens or more; with all others it means more than N. */
  reachedAtBorder: ['xai'],
}
