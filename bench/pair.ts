import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../test/source.ts'
import { nodeProgram } from '../test/support/process.ts'
import { table } from '../test/support/table.ts'
import { cpuUs, familyOf, mainThreadUs } from './contest/gauge.ts'
import { type Load, loads, orderOf } from './contest/loads.ts'
import { median } from './contest/order.ts'
import { partCores, pin, startProgram } from './contest/programs.ts'
import { call, drift, type Generator, type Runner, startGenerator } from './contest/run.ts'
import { type Store, startTollgate } from './contest/tollgate.ts'
import { machine } from './options.ts'

/** Whether a change pays: two checkouts under one load, alive at once and called in turns. */
const usage = `npm run bench:pair -- OTHER [LOAD] [pglite|postgres|redis] [ROUNDS]

What a call costs in this checkout and in OTHER, the folder of another one with its packages installed. Two processes
of each are alive at once, because the luck of one with V8's compiler is a tenth, and are called in turns (json-1k on
pglite, 10 rounds of 2.5 s each after a warm-up).
`
const warmUpMs = 12_000
const sliceMs = 2_500
const startMs = 20_000
const processesEach = 2
const idleMb = undefined

const [other = '', loadName = 'json-1k', storeName = 'pglite', rounds = '10'] = process.argv.slice(2)
const load = loads.find(({ name }) => name === loadName)
const store = (['pglite', 'postgres', 'redis'] as const).find((name) => name === storeName)

interface Side {
  readonly name: string
  readonly runner: Runner
  /** Of each slice, CPU in µs a call or event. */
  readonly all: number[]
  readonly main: number[]
}

async function slice(generator: Generator, { runner, all, main }: Side, asked: Load): Promise<void> {
  const pid = runner.contestant.pid ?? 0
  const [fromAll, fromMain] = [cpuUs(pid), mainThreadUs(pid)]
  const { calls, failed, faults } = await call(generator, runner, orderOf(asked, sliceMs))
  if (failed > 0) throw new Error(`${failed} calls failed: ${faults[0] ?? ''}`)
  const off = await drift(runner)
  if (off !== 0n) throw new Error(`the books have ${off} nano-units more than was counted`)
  const units = Math.max(1, calls) * (asked.unit === 'event' ? asked.events : 1)
  all.push((cpuUs(pid) - fromAll) / units)
  main.push((mainThreadUs(pid) - fromMain) / units)
}

function print(sides: readonly Side[]): void {
  const of = (values: readonly number[]) => median(values) ?? NaN
  const rows = sides.map(({ name, all, main }) => [name, of(all).toFixed(1), of(main).toFixed(1)])
  process.stdout.write(`${table(['checkout', 'all threads, µs', 'main thread, µs'], rows)}\n`)
  const ratio = (which: 'all' | 'main') => {
    const [here, there] = ['here', 'other'].map((name) =>
      of(sides.flatMap((side) => (side.name === name ? side[which] : []))),
    )
    return ((here ?? NaN) / (there ?? NaN)).toFixed(3)
  }
  process.stdout.write(`here / other: ${ratio('all')} of all threads, ${ratio('main')} of the main thread\n`)
}

async function compare(asked: Load, on: Store): Promise<void> {
  const head = machine()
  const cores = partCores()
  process.stdout.write(`${head}, ${cores.why}\n${asked.about}, a ${asked.unit}, books on ${on}\n`)
  const vendor = startProgram({ command: nodeProgram, args: [fileURLToPath(new URL('vendor.ts', import.meta.url))] })
  const generator = startGenerator()
  const sides: Side[] = []
  try {
    const [, port] = await vendor.says(/listening (\d+)/, startMs)
    const setting = { vendorUrl: `http://127.0.0.1:${port}`, cores: cores.all, fetchMs: startMs }
    for (let at = 0; at < processesEach; at++)
      for (const [name, folder] of [
        ['here', root],
        ['other', resolve(other)],
      ] as const) {
        const contestant = await startTollgate(on, { ...setting, folder })
        if (contestant.pid !== undefined && cores.alone !== undefined) pin(familyOf(contestant.pid), cores.alone)
        sides.push({ name, runner: { name: 'embedded', contestant, idleMb, calls: 0, nanos: 0n }, all: [], main: [] })
      }
    for (const { runner } of sides) await call(generator, runner, orderOf(asked, warmUpMs))
    for (const { runner } of sides) await drift(runner)
    for (let round = 1; round <= Number(rounds); round++) {
      for (const side of round % 2 === 0 ? sides : sides.toReversed()) await slice(generator, side, asked)
      process.stderr.write(
        `round ${round}: ${sides.map(({ name, all }) => `${name} ${all.at(-1)?.toFixed(1)}`).join(', ')}\n`,
      )
    }
    print(sides)
  } finally {
    await Promise.all(sides.map(({ runner }) => runner.contestant.stop()))
    await Promise.all([generator.stop(), vendor.stop()])
  }
}

if (!load || !store || !existsSync(join(other, 'src/entry/node.ts')) || !(Number(rounds) >= 1)) {
  process.stdout.write(usage)
  process.exitCode = process.argv.includes('--help') ? 0 : 2
} else await compare(load, store)
