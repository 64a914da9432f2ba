/** How public price lists name the vendors behind our adapters. */
interface ListNames {
  readonly litellm: string
  /** Absent: the list does not have it. */
  readonly modelsDev?: string
}

export const listNames = {
  adapters: new Map<string, ListNames>([
    ['openai', { litellm: 'openai', modelsDev: 'openai' }],
    ['deepseek', { litellm: 'deepseek', modelsDev: 'deepseek' }],
    ['qwen', { litellm: 'dashscope', modelsDev: 'alibaba' }],
    ['doubao', { litellm: 'volcengine' }],
  ]),
  /** Vendors whose `above N` means N tokens or more; with all others it means more than N. */
  reachedAtBorder: ['xai'],
}
