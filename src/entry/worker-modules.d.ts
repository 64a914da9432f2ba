/** What the bundler makes of files that are no programs. */
declare module '*.yaml' {
  const text: string
  export default text
}

declare module 'tiktoken/lite/tiktoken_bg.wasm' {
  const module: WebAssembly.Module
  export default module
}

/** The types of Node have the names of this namespace, but not what can be made with them. */
declare namespace WebAssembly {
  const Instance: new (module: Module, imports?: Imports) => Instance
}

/** What of the edge's own module is used. The methods of these classes are called from other isolates. */
declare module 'cloudflare:workers' {
  export class DurableObject<Context> {
    constructor(context: Context, bindings: unknown)
    protected readonly ctx: Context
  }
  export class WorkerEntrypoint<Context, Bindings> {
    constructor(context: Context, bindings: Bindings)
    protected readonly ctx: Context
    protected readonly env: Bindings
  }
}
