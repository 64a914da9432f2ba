import { describe, expect, test } from 'vitest'
import { importsOf, sources } from './source.ts'

/**
 * Who may import whom. A word with `type ` before it may be imported for its types only.
 * Stages (auth, admit, ledger, route, call, meter, record) do not import each other but for the arrows here: two that
 * need each other are one stage, or share something that belongs in core. Nobody imports entry.
 */
const stages = ['auth', 'admit', 'ledger', 'ledger/engine', 'route', 'call', 'meter', 'record']
const may: Readonly<Record<string, readonly string[]>> = {
  core: [],
  'ledger/engine': ['core'],
  db: ['core', 'type ports.ts'],
  'ports.ts': ['type core', 'type ledger/engine', 'type db'],
  config: ['core', 'vendors'],
  'config.ts': ['core', 'vendors', 'config'],
  'price-lists': ['core', 'vendors'],
  fronts: ['core'],
  vendors: ['core', 'type ports.ts'],
  auth: ['core', 'type ports.ts', 'db', 'type fronts'],
  route: ['core', 'type ports.ts', 'db'],
  record: ['core', 'type ports.ts', 'db'],
  alerts: ['core', 'type ports.ts', 'db'],
  ledger: ['core', 'type ports.ts', 'db', 'ledger/engine'],
  admit: ['core', 'type ports.ts', 'db', 'ledger'],
  meter: ['core', 'type ports.ts', 'fronts', 'vendors'],
  call: ['core', 'type ports.ts', 'db', 'fronts', 'vendors', 'meter'],
  gateway: ['core', 'type ports.ts', 'db', 'config', 'config.ts', 'fronts', 'vendors', ...stages],
  'jobs.ts': ['core', 'type ports.ts', 'db', 'alerts', ...stages],
  http: ['core', 'type ports.ts', 'db', 'fronts', 'gateway', 'auth', 'ledger', 'record'],
  'app.ts': ['core', 'type ports.ts', 'fronts', 'gateway', 'http'],
  platform: ['core', 'type ports.ts', 'db', 'ledger/engine', 'type meter'],
}

/** Packages are the outside too. A layer that is not named here imports none. */
const packages: Readonly<Record<string, readonly string[]>> = {
  config: ['yaml', 'zod'],
  'config.ts': ['yaml', 'zod'],
  db: ['drizzle-orm'],
  auth: ['drizzle-orm'],
  route: ['drizzle-orm'],
  record: ['drizzle-orm'],
  alerts: ['drizzle-orm'],
  ledger: ['drizzle-orm'],
  admit: ['drizzle-orm'],
  gateway: ['drizzle-orm'],
  http: ['drizzle-orm', 'hono', 'zod'],
  'app.ts': ['hono'],
}
/** These make the ports real or choose who does: any package, and node itself. */
const outside = ['platform', 'entry']

const files = sources('src')

/** The longest key of the table that the file lies under. */
function layerOf(file: string): string | undefined {
  return [...Object.keys(may), 'entry']
    .filter((key) => file === key || file.startsWith(`${key}/`))
    .toSorted((a, b) => b.length - a.length)[0]
}

const packageOf = (name: string): string => name.split('/', name.startsWith('@') ? 2 : 1).join('/')

/** Why a layer may not have this import; undefined where it may. */
function fault(from: string, to: string, typesOnly: boolean): string | undefined {
  const isFile = to.endsWith('.ts')
  if (!isFile) {
    const allowed = outside.includes(from) || packages[from]?.includes(packageOf(to))
    return allowed ? undefined : `${to} is not a package of ${from}`
  }
  const layer = layerOf(to)
  if (layer === undefined) return `${to} has no layer`
  if (layer === from || from === 'entry') return undefined
  if (may[from]?.includes(layer)) return undefined
  if (!may[from]?.includes(`type ${layer}`)) return `${to} is not below ${from}`
  return typesOnly ? undefined : `${to} may be imported by ${from} for types only`
}

/** The first circle of value imports that a walk from `start` comes upon, as the files on it. */
function circle(graph: ReadonlyMap<string, readonly string[]>, start: string): string[] | undefined {
  const done = new Set<string>()
  const walk = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    done.add(file)
    for (const next of graph.get(file) ?? []) {
      const found = walk(next, [...path, file])
      if (found) return found
    }
    return undefined
  }
  return walk(start, [])
}

describe('layers', () => {
  test.each(files)('%s has a layer and imports only what its layer may', (file) => {
    const from = layerOf(file)
    expect(from, `${file} lies in no layer of the table`).toBeDefined()
    const faults = importsOf(file).map(({ to, typesOnly }) => fault(from!, to, typesOnly))
    expect(faults.filter((why) => why !== undefined)).toEqual([])
  })

  test('no file needs itself to be loaded first', () => {
    const values = (file: string): string[] => importsOf(file).flatMap(({ to, typesOnly }) => (typesOnly ? [] : [to]))
    const graph = new Map(files.map((file) => [file, values(file)]))
    expect(files.map((file) => circle(graph, file)).filter((found) => found !== undefined)).toEqual([])
  })

  test.each([
    ['core', 'ports.ts', true, 'ports.ts is not below core'],
    ['core', 'zod', false, 'zod is not a package of core'],
    ['vendors', 'ports.ts', true, undefined],
    ['vendors', 'ports.ts', false, 'ports.ts may be imported by vendors for types only'],
    ['admit', 'ledger/hold.ts', false, undefined],
    ['ledger', 'admit/admit.ts', false, 'admit/admit.ts is not below ledger'],
    ['http', 'entry/node.ts', false, 'entry/node.ts is not below http'],
    ['http', 'hono/streaming', false, undefined],
    ['http', 'node:fs', false, 'node:fs is not a package of http'],
    ['platform', 'node:fs', false, undefined],
    ['entry', 'platform/undici.ts', false, undefined],
    ['core', 'stray/x.ts', false, 'stray/x.ts has no layer'],
  ])('%s that imports %s (types only: %s): %s', (from, to, typesOnly, why) => {
    expect(fault(from, to, typesOnly)).toBe(why)
  })

  test('a circle is told by the files on it', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['b']],
    ])
    expect(circle(graph, 'a')).toEqual(['b', 'c', 'b'])
  })
})
