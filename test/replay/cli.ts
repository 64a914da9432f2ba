import { parseArgs } from 'node:util'
import { ConfigError } from '../../src/config.ts'
import type { CutLimit } from './cuts.ts'
import { ManifestError } from './manifest.ts'
import { replay, type ReplayOptions } from './replay.ts'
import { printReport, totalsOf } from './report.ts'

const help = `Replays recorded vendor traffic through a whole gateway over sockets and compares what the caller gets and
what the books say with the manifests.

  npm run replay -- DIR [options]

DIR holds one folder per vendor, each with a manifest.json and the bodies that it lists.

  --vendor a,b   only these folders
  --kind a,b     only entries of these kinds
  --cuts N       cut each stream in two at no more than N places; "all" cuts at every byte
                 (default: at every byte of a stream of up to 2,000 bytes, at 200 places of a longer one)
  --crossed      ask for each answer in the dialects that its vendor does not speak
  --help         this text

Exit code: 0 if nothing failed, 1 if something did, 2 if the arguments or a manifest cannot be used.`

/** What the command line asks for is not possible. */
class UsageError extends Error {}

const maxCuts = 1_000_000

function read(args: readonly string[]): Omit<ReplayOptions, 'progress'> | 'help' {
  const { values, positionals } = parse(args)
  if (values.help) return 'help'
  const [dir, ...more] = positionals
  if (dir === undefined || more.length > 0) throw new UsageError('Name one folder of recordings.')
  return {
    dir,
    ...(values.vendor !== undefined && { vendors: listOf('--vendor', values.vendor) }),
    ...(values.kind !== undefined && { kinds: listOf('--kind', values.kind) }),
    ...(values.cuts !== undefined && { cuts: cutsIn(values.cuts) }),
    ...(values.crossed && { crossed: true }),
  }
}

function parse(args: readonly string[]) {
  try {
    const text = { type: 'string' } as const
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { vendor: text, kind: text, cuts: text, crossed: { type: 'boolean' }, help: { type: 'boolean' } },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function listOf(option: string, value: string): readonly string[] {
  const names = value.split(',').map((name) => name.trim())
  if (names.includes('')) throw new UsageError(`${option} takes names with commas between them.`)
  return names
}

function cutsIn(value: string): CutLimit {
  if (value === 'all') return 'all'
  const cuts = /^\d{1,7}$/.test(value) ? Number(value) : -1
  if (cuts < 0 || cuts > maxCuts) throw new UsageError(`--cuts takes a whole number up to ${maxCuts}, or "all".`)
  return cuts
}

async function main(args: readonly string[]): Promise<number> {
  const options = read(args)
  if (options === 'help') {
    process.stdout.write(`${help}\n`)
    return 0
  }
  const reports = await replay({ ...options, progress: (line) => process.stderr.write(`${line}\n`) })
  process.stdout.write(`${printReport(reports)}\n`)
  return totalsOf(reports).failed === 0 ? 0 : 1
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError || error instanceof ManifestError || error instanceof ConfigError)) throw error
  process.stderr.write(`${error.message}\n${error instanceof UsageError ? 'Try --help.\n' : ''}`)
  process.exitCode = 2
}
