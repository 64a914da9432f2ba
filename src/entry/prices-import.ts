import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { type Config, ConfigError, readPrices } from '../config.ts'
import type { Model } from '../core/catalog.ts'
import { modelName } from '../core/model-rules.ts'
import type { PriceSet } from '../core/price.ts'
import { freeNanos, fullPricePpm, priceSet } from '../core/price-set.ts'
import type { Database } from '../db/database.ts'
import { migrate } from '../db/migrate.ts'
import { loadCatalog } from '../gateway/catalog.ts'
import { planPrices } from '../gateway/planned-prices.ts'
import { type List, type Listed, lists } from '../price-lists/listed.ts'
import { changes, type FilePrices, judge, toFile } from '../price-lists/propose.ts'
import { findListed, type ListKey, type PriceList, readList } from '../price-lists/read-lists.ts'
import { listNames } from '../vendors/list-names.ts'

const maxFileBytes = 64 * 1024 * 1024
const maxFiles = 20
/** A planned price has to reach every replica, and whoever planned it has to be able to see what he did. */
const leastAheadMs = 5 * 60_000
const mostAheadMs = 366 * 86_400_000

export const importUsage = `tollgate prices import PATH... [options]

Reads public price lists (LiteLLM's price map, models.dev's api.json; files, or folders of them), compares them with
each other and with the prices that the configuration has, and prints what would change, as YAML for the configuration.
The first list that has a model gives its prices. Nothing is changed without --apply.

  --model NAME[=KEY]    only this model; KEY is its name in the lists (may be repeated)
  --prefer LIST         take the figures of litellm or models.dev where the lists differ by more than 1 %
  --confirm-free NAME   this model may cost nothing (may be repeated)
  --markup-percent P    put on every price when it is published
  --valid-from TIME     when the prices begin, such as 2026-12-01T00:00:00Z: at least five minutes from now
  --apply               plan them in the database; only for models of the admin API, and only with --valid-from`

export interface ImportParts {
  readonly args: readonly string[]
  readonly nowMs: number
  readonly config: Config
  /** Standard output: YAML and nothing else. */
  write(line: string): void
  /** Standard error: what was refused, and why. */
  warn(line: string): void
  /** Opens the database for some work; asked for only with --apply. */
  open(work: (database: Database) => Promise<number>): Promise<number>
}

interface Options {
  readonly paths: readonly string[]
  readonly models: ReadonlyMap<string, string | undefined>
  readonly prefer: List | undefined
  readonly free: ReadonlySet<string>
  readonly markupPercent: string | undefined
  readonly validFrom: Date | undefined
  readonly apply: boolean
}

interface Proposal {
  readonly name: string
  /** As the configuration has them; undefined where the model costs nothing. */
  readonly file: FilePrices | undefined
  readonly prices: PriceSet
  readonly source: string
  readonly changes: readonly string[]
}

/** A wrong use, told to the operator beside how to use it. */
class WrongUse extends Error {}

/**
 * `tollgate prices import`. Never changes anything unless --apply says so, and then all of it or nothing.
 * Resolves to the exit status: 0 done, 1 some model was refused or its lists differ, 2 used in a wrong way.
 */
export async function importPrices(parts: ImportParts): Promise<number> {
  const { config, nowMs } = parts
  try {
    const options = readOptions(parts)
    const read = options.paths.flatMap(filesAt).map(readFile)
    if (!options.apply) return report(parts, options, propose(config, options, { lists: read, offered: config.models }))
    return await parts.open(async (database) => {
      await migrate(database, nowMs)
      const { models } = await loadCatalog(database, config)
      const offered = new Map([...models].filter(([, { provisioned }]) => !provisioned))
      const proposed = propose(config, options, { lists: read, offered })
      const refused = await plan(database, options, proposed.proposals)
      return report(parts, options, {
        ...proposed,
        faults: [...proposed.faults, ...refused],
        isRefused: refused.length > 0,
      })
    })
  } catch (error) {
    if (!(error instanceof WrongUse)) throw error
    parts.warn(`${error.message}\n\n${importUsage}`)
    return 2
  }
}

interface Proposed {
  readonly proposals: readonly Proposal[]
  readonly faults: readonly string[]
  /** What was left out of a proposal. */
  readonly notes: readonly string[]
  /** The database did not take the proposals. */
  readonly isRefused?: boolean
}

function report(parts: ImportParts, options: Options, { proposals, faults, notes, isRefused }: Proposed): number {
  for (const line of [...faults, ...notes]) parts.warn(line)
  if (!isRefused) parts.write(print(options, proposals))
  return faults.length === 0 ? 0 : 1
}

function readOptions({ args, nowMs }: ImportParts): Options {
  const { values, positionals } = parsed(args)
  const { prefer, 'valid-from': from, 'markup-percent': markupPercent, apply = false } = values
  if (positionals.length === 0) throw new WrongUse('Name at least one file or folder of price lists.')
  if (prefer !== undefined && !lists.some((list) => list === prefer))
    throw new WrongUse(`--prefer must be one of: ${lists.join(', ')}.`)
  if (apply && from === undefined) throw new WrongUse('--apply needs --valid-from.')
  return {
    paths: positionals,
    models: new Map((values.model ?? []).map(readModel)),
    prefer: lists.find((list) => list === prefer),
    free: new Set(values['confirm-free']),
    markupPercent,
    validFrom: from === undefined ? undefined : readMoment(from, nowMs),
    apply,
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        model: { type: 'string', multiple: true },
        prefer: { type: 'string' },
        'confirm-free': { type: 'string', multiple: true },
        'markup-percent': { type: 'string' },
        'valid-from': { type: 'string' },
        apply: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new WrongUse(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function readModel(text: string): [string, string | undefined] {
  const at = text.indexOf('=')
  const name = at < 0 ? text : text.slice(0, at)
  if (!modelName.pattern.test(name)) throw new WrongUse(`--model ${name}: ${modelName.rule}.`)
  return [name, at < 0 ? undefined : text.slice(at + 1)]
}

/** A moment with its zone: without one, two people would read two of it. */
function readMoment(text: string, nowMs: number): Date {
  const isWhole = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)$/.test(text)
  const moment = new Date(isWhole ? text : Number.NaN)
  const ahead = moment.getTime() - nowMs
  if (Number.isNaN(ahead)) throw new WrongUse('--valid-from must be a moment such as 2026-12-01T00:00:00Z.')
  if (ahead < leastAheadMs) throw new WrongUse('--valid-from must be at least five minutes from now.')
  if (ahead > mostAheadMs) throw new WrongUse('--valid-from must be within a year from now.')
  return moment
}

function filesAt(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    const files = readdirSync(path).filter((file) => file.endsWith('.json'))
    if (files.length > maxFiles) throw new WrongUse(`${path} has more than ${maxFiles} files.`)
    return files.toSorted().map((file) => join(path, file))
  } catch (error) {
    if (error instanceof WrongUse) throw error
    throw new WrongUse(`${path} cannot be read.`, { cause: error })
  }
}

function readFile(path: string): PriceList {
  try {
    if (statSync(path).size > maxFileBytes) throw new Error(`is larger than ${maxFileBytes} bytes`)
    return readList(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new WrongUse(`${path} ${error instanceof SyntaxError ? 'is not JSON' : (error as Error).message}.`, {
      cause: error,
    })
  }
}

interface Sources {
  readonly lists: readonly PriceList[]
  readonly offered: ReadonlyMap<string, Model>
}

function propose(config: Config, options: Options, { lists: read, offered }: Sources): Proposed {
  const names = options.models.size > 0 ? [...options.models.keys()] : [...offered.keys()]
  const proposals: Proposal[] = []
  const faults: string[] = []
  const notes: string[] = []
  for (const name of names) {
    const model = offered.get(name)
    const key = options.models.get(name)
    if (!model && (options.apply || key === undefined)) {
      faults.push(`${name}: is no model of ${options.apply ? 'the admin API' : 'the configuration; add =KEY'}`)
      continue
    }
    const at = key === undefined ? model && keyOf(config, model) : { key, model: name }
    // What no list can know is passed over, unless somebody asks for it.
    if (at === undefined && !options.models.has(name)) continue
    const found = at ? read.flatMap((list) => findListed(list, at) ?? []) : []
    const { listed, faults: judged } = judge(found, { prefer: options.prefer, isFree: options.free.has(name) })
    faults.push(...judged.map((fault) => `${name}: ${fault}`))
    if (!listed) continue
    const { left, ...proposal } = proposalOf(name, listed, { model, markupPercent: options.markupPercent })
    if (proposal.changes.length === 0) continue
    notes.push(...left.map((note) => `${name}: not taken: ${note}`))
    proposals.push(proposal)
  }
  return { proposals, faults, notes }
}

interface Against {
  /** The model as it is, if there is one. */
  readonly model: Model | undefined
  readonly markupPercent: string | undefined
}

function proposalOf(
  name: string,
  listed: Listed,
  { model, markupPercent }: Against,
): Proposal & { left: readonly string[] } {
  const isNothing = [listed.nanos, ...listed.rates.map(({ nanos }) => nanos)].every((nanos) =>
    Object.values(nanos).every((price) => price === 0n),
  )
  const file = toFile(listed, markupPercent)
  const free = priceSet({ currency: 'USD', nanos: freeNanos, discountPpm: fullPricePpm })
  const prices = isNothing ? free : published(name, file.prices)
  return {
    name,
    file: isNothing ? undefined : file.prices,
    prices,
    source: `${listed.list} "${listed.name}"`,
    changes: changes(model?.prices, prices),
    left: [...listed.notes, ...file.left],
  }
}

/** What the configuration would make of these prices, by its own rules. */
function published(name: string, prices: FilePrices): PriceSet {
  try {
    return readPrices(prices)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new WrongUse(`The prices of ${name} could not be published:\n${error.faults.join('\n')}`, { cause: error })
  }
}

/** How the lists may call a model: by its first target whose vendor they know. */
function keyOf({ vendors }: Config, { targets }: Model): ListKey | undefined {
  for (const { vendor, model } of targets) {
    const known = listNames.adapters.get(vendors.get(vendor)?.adapter ?? '')
    if (known) return { ...known, model }
  }
  return undefined
}

/** All of them or none: half a price list is worse than the old one. */
async function plan(
  database: Database,
  { validFrom }: Options,
  proposals: readonly Proposal[],
): Promise<readonly string[]> {
  if (validFrom === undefined || proposals.length === 0) return []
  const refused: string[] = []
  const rollBack = new Error('a price was refused')
  await database
    .transaction(async (session) => {
      for (const { name, prices } of proposals) {
        const why = await planPrices(session, name, { prices, validFrom })
        if (why !== undefined) refused.push(`${name}: ${why}`)
      }
      if (refused.length > 0) throw rollBack
    })
    .catch((error: unknown) => {
      if (error !== rollBack) throw error
    })
  return refused
}

function print({ validFrom, apply: isApplied }: Options, proposals: readonly Proposal[]): string {
  if (proposals.length === 0) return '# No price changes.'
  const from = validFrom?.toISOString() ?? 'the next start'
  const head = isApplied ? `# Planned in the database, from ${from} on.` : `# Proposed prices, to hold from ${from} on.`
  const models = proposals.flatMap(({ name, file, source, changes: changed }) => [
    `  ${JSON.stringify(name)}:`,
    `    # From ${source}.`,
    ...changed.map((change) => `    # ${change}`),
    ...stringify(file ? { prices: file } : { free: true }, { lineWidth: 0 })
      .trimEnd()
      .split('\n')
      .map((line) => `    ${line}`),
  ])
  return [head, 'models:', ...models].join('\n')
}
