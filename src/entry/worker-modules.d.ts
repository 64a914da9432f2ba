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
