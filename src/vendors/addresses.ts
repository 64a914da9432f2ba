/** Where an adapter's vendor is reached unless the configuration says otherwise. */
export interface Address {
  readonly baseUrl: string
  /** Answers inside this process: needs neither an address of the operator's nor a key. */
  readonly local?: true
}

/** Every adapter that a vendor of the configuration can name. */
export const addresses: Readonly<Record<string, Address>> = {
  openai: { baseUrl: 'https://api.openai.com/v1' },
  deepseek: { baseUrl: 'https://api.deepseek.com' },
  qwen: { baseUrl: 'https://dashscope.aliyuncs.com/compatible-mode/v1' },
  doubao: { baseUrl: 'https://ark.cn-beijing.volces.com/api/v3' },
  sandbox: { baseUrl: 'sandbox:', local: true },
}

/** The adapter of a vendor whose configuration names none: the one of its own name, else the plainest. */
export function adapterOf(vendor: string, named: string | undefined): string {
  return named ?? (Object.hasOwn(addresses, vendor) ? vendor : 'openai')
}
