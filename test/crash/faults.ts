import { setTimeout as wait } from 'node:timers/promises'
import type { Installation } from '../support/installation.ts'
import { type Program, startProgram, until } from '../support/process.ts'

/** Time as the gateway lives it: it stands still while the process is frozen. */
export interface LivingClock {
  now(): number
  freeze(): void
  thaw(): void
}

export function livingClock(): LivingClock {
  let frozenMs = 0
  let since: number | undefined
  return {
    now: () => (since ?? performance.now()) - frozenMs,
    freeze() {
      since ??= performance.now()
    },
    thaw() {
      if (since !== undefined) frozenMs += performance.now() - since
      since = undefined
    },
  }
}

/** The vendor's process. */
export interface VendorProcess {
  /** Kills it, and starts another on the same port after so long. */
  kill(awayMs: number): Promise<void>
  end(): Promise<void>
}

export async function startVendorProcess(port: number, truth: string): Promise<VendorProcess> {
  const start = async (): Promise<Program> => {
    const program = startProgram(['test/crash/vendor.ts'], { PORT: String(port), TRUTH: truth })
    await until('a vendor that listens', () => (program.out().includes('listening') ? true : undefined))
    return program
  }
  let program = await start()
  return {
    async kill(awayMs) {
      await program.kill('SIGKILL')
      await wait(awayMs)
      program = await start()
    },
    async end() {
      await program.kill('SIGKILL')
    },
  }
}

export interface Lanes {
  readonly installation: Installation
  readonly vendor: VendorProcess
  readonly clock: LivingClock
  readonly random: () => number
  /** Hears of every fault as it happens. */
  count(fault: string): void
  /** Hears of every kill of the gateway. */
  killed(): void
}

/** Faults of three kinds at random times, each kind on a lane of its own, until the signal; then all is healed. */
export async function makeFaults(lanes: Lanes, signal: AbortSignal): Promise<void> {
  await Promise.all([
    lane(lanes, signal, { everyMs: 14_000, fault: () => gatewayFault(lanes) }),
    lane(lanes, signal, { everyMs: 20_000, fault: () => vendorFault(lanes) }),
    ...(lanes.installation.postgres
      ? [lane(lanes, signal, { everyMs: 45_000, fault: () => databaseFault(lanes) })]
      : []),
  ])
}

interface Lane {
  /** Twice the mean time between two faults. */
  readonly everyMs: number
  fault(): Promise<void>
}

async function lane({ random }: Lanes, signal: AbortSignal, { everyMs, fault }: Lane): Promise<void> {
  for (;;) {
    await wait(random() * everyMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    await fault()
  }
}

/** A kill, a pause, or a pause that ends in a kill. */
async function gatewayFault({ installation, clock, random, count, killed }: Lanes): Promise<void> {
  // A process that is on its way up is killed as well, but a gateway must also serve now and then.
  if (random() < 0.8) await installation.up()
  const { process } = installation
  const kind = random()
  if (kind < 0.5) {
    count('gateway kill -9')
    killed()
    await process.kill('SIGKILL')
    return
  }
  count('gateway pause')
  clock.freeze()
  process.freeze()
  await wait(random() * 6_000)
  if (kind < 0.65) {
    count('gateway kill -9 in a pause')
    killed()
    await process.kill('SIGKILL')
  } else process.thaw()
  clock.thaw()
}

async function vendorFault({ vendor, random, count }: Lanes): Promise<void> {
  count('vendor kill -9')
  await vendor.kill(random() * 2_000)
}

async function databaseFault({ installation: { postgres }, random, count }: Lanes): Promise<void> {
  count('PostgreSQL immediate stop')
  await postgres?.crash()
  await wait(random() * 5_000)
  await postgres?.restart()
}
