import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeProgram } from '../test/support/process.ts'
import { familyOf, mainThreadUs } from './contest/gauge.ts'
import { loads, orderOf } from './contest/loads.ts'
import { type Profile, type Share, sharesOf } from './contest/profile.ts'
import { partCores, pin, startProgram } from './contest/programs.ts'
import { call, drift, type Runner, startGenerator } from './contest/run.ts'
import { type Store, startTollgate } from './contest/tollgate.ts'
import { machineUs } from './contest/wire.ts'
import { machine } from './options.ts'

/** Where the time of a call goes: V8's own profile of a gateway under a load, by stages and functions. */
const usage = `npm run bench:profile -- [LOAD] [pglite|postgres|redis]

A profile of the gateway's main thread under a load of the contest (json-1k), on a store (pglite).
`
const warmUpMs = 8_000
const runMs = 8_000
const startMs = 20_000
const mostRows = 30
const leastShare = 0.004
const sampleUs = 1_000

const [loadName = 'json-1k', storeName = 'pglite'] = process.argv.slice(2)
const load = loads.find(({ name }) => name === loadName)
const store = (['pglite', 'postgres', 'redis'] as const).find((name) => name === storeName)

/**
 * The profile counts time by the clock, in which others may have had the core: its shares are of the time that it saw,
 * its microseconds of the CPU that the system says the thread had.
 */
function print(title: string, shares: readonly Share[], { busyUs, callUs }: { busyUs: number; callUs: number }): void {
  process.stdout.write(`\n| ${title} | µs a call | share |\n|---|---:|---:|\n`)
  for (const { name, us } of shares.slice(0, mostRows)) {
    const share = us / busyUs
    if (share < leastShare) break
    process.stdout.write(`| ${name} | ${(share * callUs).toFixed(1)} | ${(share * 100).toFixed(1)} % |\n`)
  }
}

/** The profile of the main thread; workers have files of their own. */
function read(folder: string): Profile {
  const [name] = readdirSync(folder).filter((file) => /\.0\.\d+\.cpuprofile$/.test(file))
  if (name === undefined) throw new Error('the gateway left no profile')
  return JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile
}

async function profile(asked: (typeof loads)[number], on: Store): Promise<void> {
  const head = machine()
  const cores = partCores()
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-profile-'))
  const vendor = startProgram({
    command: nodeProgram,
    args: [fileURLToPath(new URL('vendor.ts', import.meta.url))],
  })
  const generator = startGenerator()
  try {
    const [, port] = await vendor.says(/listening (\d+)/, startMs)
    const nodeArgs = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${sampleUs}`]
    const vendorUrl = `http://127.0.0.1:${port}`
    const contestant = await startTollgate(on, { vendorUrl, nodeArgs, cores: cores.all, fetchMs: startMs })
    const { pid } = contestant
    if (pid !== undefined && cores.alone !== undefined) pin(familyOf(pid), cores.alone)
    const runner: Runner = { name: 'embedded', contestant, idleMb: undefined, calls: 0, nanos: 0n }
    try {
      await call(generator, runner, orderOf(asked, warmUpMs))
      await drift(runner)
      const from = machineUs()
      const usedUs = pid === undefined ? 0 : mainThreadUs(pid)
      const { calls } = await call(generator, runner, orderOf(asked, runMs))
      const off = await drift(runner)
      const to = machineUs()
      const callUs = pid === undefined ? 0 : (mainThreadUs(pid) - usedUs) / calls
      await contestant.books?.read()
      const { busyUs, places, stages, files, functions } = sharesOf(read(folder), from, to)
      process.stdout.write(
        `${head}, ${cores.why}\n${asked.about}, books on ${on}: ${calls} calls, drift ${off}, ` +
          `${callUs.toFixed(0)} µs of CPU of the main thread a call, while it is profiled\n`,
      )
      print('where the code lies', places, { busyUs, callUs })
      print('the stage that it ran for', stages, { busyUs, callUs })
      print('the file that it ran for', files, { busyUs, callUs })
      print('function', functions, { busyUs, callUs })
    } finally {
      await contestant.stop()
    }
  } finally {
    await Promise.all([generator.stop(), vendor.stop()])
    rmSync(folder, { recursive: true, force: true })
  }
}

if (!load || !store || process.argv.includes('--help')) process.stdout.write(usage)
else await profile(load, store)
