#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Said } from './commands.ts'

const help = `Usage: tollgate COMMAND

  serve          runs the gateway until it is told to stop
  migrate        brings the database up to date
  key issue --kind master|management [--account NAME]
                 makes a key and prints it, this once; a master key spends for
                 the account of that name, or for "default"
  ledger check   prints what is wrong in the books and how they stand; the exit
                 status is 1 where anything is wrong
  ledger recompute [--share 0.01]
                 reckons a share of all charges again from their counts and the
                 prices that were pinned; the exit status is 1 where one differs
  ledger vendors [--days 30]
                 what vendors cost by our price lists, beside what they reported
  vendor-keys reseal
                 encrypts the vendor keys of the database with the secret of
                 today; the exit status is 1 where one cannot be opened
  prices import PATH...
                 compares public price lists with the configuration and
                 proposes new prices; see tollgate prices import --help
  --help         prints this
  --version      prints the version

The configuration is the gateway's: config/tollgate.yaml, or the file that
TOLLGATE_CONFIG names, and the environment. An embedded database (no
DATABASE_URL) belongs to one process: stop the gateway first.
`

/** Exit statuses: done, failed, and a command that nobody knows. */
const done = 0
const failed = 1
const misused = 2

class Misuse extends Error {}

try {
  const args = process.argv.slice(2)
  // It has options, two kinds of output and exit statuses of its own.
  if (args[0] === 'prices' && args[1] === 'import')
    process.exit(await (await commands()).importPriceLists(process.env, args.slice(2)))
  const said = await run(args)
  // The gateway goes on after this; every other command has said what there is to say.
  if (said !== undefined) end(said)
} catch (error) {
  const isMisuse = error instanceof Misuse
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${isMisuse ? `\n${help}` : ''}`)
  process.exit(isMisuse ? misused : failed)
}

function end({ text, isWell }: Said): void {
  process.stdout.write(text)
  process.exit(isWell ? done : failed)
}

async function run(args: readonly string[]): Promise<Said | undefined> {
  const { values, positionals } = read(args)
  if (values.help) return { text: help, isWell: true }
  if (values.version) return { text: `${version()}\n`, isWell: true }
  const command = positionals.join(' ')
  const isKey = command === 'key issue'
  if (!isKey && (values.kind !== undefined || values.account !== undefined))
    throw new Misuse('--kind and --account belong to "key issue".')
  if (command !== 'ledger recompute' && values.share !== undefined)
    throw new Misuse('--share belongs to "ledger recompute".')
  if (command !== 'ledger vendors' && values.days !== undefined) throw new Misuse('--days belongs to "ledger vendors".')
  if (command === 'serve') return serve()
  if (command === 'migrate') return (await commands()).migrateDatabase(process.env)
  if (command.startsWith('ledger ')) return ledger(command, values)
  if (command === 'vendor-keys reseal') return (await commands()).resealVendorKeys(process.env)
  if (isKey) return issueKey(values)
  throw new Misuse(command === '' ? 'A command is missing.' : `There is no command "${command}".`)
}

function read(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
        kind: { type: 'string' },
        account: { type: 'string' },
        share: { type: 'string' },
        days: { type: 'string' },
      },
    })
  } catch (error) {
    throw new Misuse(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** Loaded when they are needed: help must not wait for a database's driver. */
function commands() {
  return import('./commands.ts')
}

interface LedgerOptions {
  readonly share?: string | undefined
  readonly days?: string | undefined
}

async function ledger(command: string, { share = '0.01', days = '30' }: LedgerOptions): Promise<Said> {
  const { checkLedger, recomputeCharges, vendorReport } = await import('./ledger-commands.ts')
  if (command === 'ledger check') return checkLedger(process.env)
  const [work, rule] =
    command === 'ledger recompute'
      ? [recomputeCharges(process.env, share), '--share must be more than 0 and at most 1, with at most six decimals.']
      : command === 'ledger vendors'
        ? [vendorReport(process.env, days), '--days must be a whole number from 1 to 3660.']
        : [undefined, `There is no command "${command}".`]
  if (!work) throw new Misuse(rule)
  return work
}

async function serve(): Promise<undefined> {
  await import('./node.ts')
}

interface KeyOptions {
  readonly kind?: string | undefined
  readonly account?: string | undefined
}

async function issueKey({ kind, account }: KeyOptions): Promise<Said> {
  if (kind !== 'master' && kind !== 'management') throw new Misuse('--kind must be master or management.')
  if (kind === 'management' && account !== undefined) throw new Misuse('A management key has no --account.')
  const { issue } = await commands()
  return issue(process.env, { kind, account: account ?? 'default' })
}
