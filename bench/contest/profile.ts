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
  /** By the innermost part of ours that it ran for. */
  readonly stages: readonly Share[]
  readonly functions: readonly Share[]
}

const ours = /\/src\/([^/]+)(?:\/([^/]+))?/
const parts = new Set(['ledger', 'platform', 'db', 'gateway'])
/** Deeper than any stack that V8 keeps. */
const mostDepth = 2_000

/** The part of the repository that a file belongs to: a stage, and its file where a stage does many things. */
function stageOf(url: string): string | undefined {
  const found = url.includes('/node_modules/') ? undefined : ours.exec(url)
  if (!found) return undefined
  const [, folder = '', file] = found
  return file !== undefined && parts.has(folder)
    ? `${folder}/${file.replace(/\.ts$/, '')}`
    : folder.replace(/\.ts$/, '')
}

function placeOf(url: string, name: string): string {
  if (url.startsWith('wasm:')) return 'WebAssembly (PGlite, llhttp)'
  const library = /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1]
  if (library !== undefined) return library
  const stage = stageOf(url)
  if (stage !== undefined) return `src/${stage.replace(/\/.*/, '')}`
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
  const stageFor = (id: number): string => {
    let up: number | undefined = id
    for (let depth = 0; up !== undefined && depth < mostDepth; depth++) {
      const stage = stageOf(byId.get(up)?.callFrame.url ?? '')
      if (stage !== undefined) return stage
      up = parents.get(up)
    }
    return 'none of ours on the stack'
  }
  const places = new Map<string, number>()
  const stages = new Map<string, number>()
  const functions = new Map<string, number>()
  let busyUs = 0
  for (const [id, us] of selfUs) {
    const { functionName, url, lineNumber } = byId.get(id)?.callFrame ?? { functionName: '', url: '', lineNumber: 0 }
    if (functionName === '(idle)') continue
    busyUs += us
    const where = url === '' ? '' : ` ${url.replace(/^.*\/(?=node_modules\/|src\/)/, '')}:${lineNumber + 1}`
    add(places, placeOf(url, functionName), us)
    add(stages, functionName.startsWith('(') && url === '' ? functionName : stageFor(id), us)
    add(functions, url.startsWith('wasm:') ? 'WebAssembly' : `${functionName || 'anonymous'}${where}`, us)
  }
  return { busyUs, places: sorted(places), stages: sorted(stages), functions: sorted(functions) }
}

function add(sums: Map<string, number>, name: string, us: number): void {
  sums.set(name, (sums.get(name) ?? 0) + us)
}

function sorted(sums: ReadonlyMap<string, number>): readonly Share[] {
  return [...sums].map(([name, us]) => ({ name, us })).toSorted((a, b) => b.us - a.us)
}
