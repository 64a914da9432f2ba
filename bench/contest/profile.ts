/** What we read of V8's profile. */
export interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: readonly number[]
  }[]
  /** Microseconds of the machine's own clock. */
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

export interface Share {
  readonly name: string
  readonly us: number
}

export interface Shares {
  /** Without the time in which nothing ran. */
  readonly busyUs: number
  /** By where the code lies that ran. */
  readonly places: readonly Share[]
  /** By the innermost file of ours that it ran for, and by that file's folder. */
  readonly stages: readonly Share[]
  readonly files: readonly Share[]
  readonly functions: readonly Share[]
}

const ours = /\/src\/(.+)$/
/** Deeper than any stack that V8 keeps. */
const mostDepth = 2_000

/** The file of ours that is run, without what stands before `src`; undefined for code of others. */
function fileOf(url: string): string | undefined {
  const found = url.includes('/node_modules/') ? undefined : ours.exec(url)
  return found?.[1]
}

/** A folder of `src`, or a file that stands in none. */
function stageOf(file: string): string {
  return file.replace(/\/.*|\.ts$/, '')
}

function libraryOf(url: string): string | undefined {
  return /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1]
}

function placeOf(url: string, name: string): string {
  const library = libraryOf(url)
  if (library !== undefined) return library
  const file = fileOf(url)
  if (file !== undefined) return `src/${stageOf(file)}`
  if (url.startsWith('node:')) return 'node'
  return name.startsWith('(') ? name : 'native code without a name'
}

/** Where the time of a profile went, between two moments of the machine's clock. */
export function sharesOf({ nodes, startTime, samples, timeDeltas }: Profile, fromUs: number, toUs: number): Shares {
  const selfUs = new Map<number, number>()
  let at = startTime
  for (const [index, id] of samples.entries()) {
    const delta = timeDeltas[index] ?? 0
    at += delta
    if (at >= fromUs && at < toUs) selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, delta))
  }
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)))
  /** The innermost answer on a stack. */
  const innermost = (id: number, of: (url: string) => string | undefined): string | undefined => {
    let up: number | undefined = id
    for (let depth = 0; up !== undefined && depth < mostDepth; depth++) {
      const found = of(byId.get(up)?.callFrame.url ?? '')
      if (found !== undefined) return found
      up = parents.get(up)
    }
    return undefined
  }
  const places = new Map<string, number>()
  const stages = new Map<string, number>()
  const files = new Map<string, number>()
  const functions = new Map<string, number>()
  let busyUs = 0
  for (const [id, us] of selfUs) {
    const { functionName, url, lineNumber } = byId.get(id)?.callFrame ?? { functionName: '', url: '', lineNumber: 0 }
    if (functionName === '(idle)') continue
    busyUs += us
    const where = url === '' ? '' : ` ${url.replace(/^.*\/(?=node_modules\/|src\/)/, '')}:${lineNumber + 1}`
    const isWasm = url.startsWith('wasm:')
    const wasm = `WebAssembly of ${innermost(id, libraryOf) ?? 'node'}`
    const ownFile = innermost(id, fileOf)
    const others = `${innermost(id, libraryOf) ?? 'node'}, none of ours on the stack`
    const isOwn = !(functionName.startsWith('(') && url === '')
    add(places, isWasm ? wasm : placeOf(url, functionName), us)
    add(stages, isOwn ? (ownFile === undefined ? others : stageOf(ownFile)) : functionName, us)
    add(files, isOwn ? (ownFile ?? others) : functionName, us)
    add(functions, isWasm ? wasm : `${functionName || 'anonymous'}${where}`, us)
  }
  return { busyUs, places: sorted(places), stages: sorted(stages), files: sorted(files), functions: sorted(functions) }
}

function add(sums: Map<string, number>, name: string, us: number): void {
  sums.set(name, (sums.get(name) ?? 0) + us)
}

function sorted(sums: ReadonlyMap<string, number>): readonly Share[] {
  return [...sums].map(([name, us]) => ({ name, us })).toSorted((a, b) => b.us - a.us)
}
