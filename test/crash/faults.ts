import { setTimeout as wait } from 'node:timers/promises'
import type { Installation } from '../support/installation.ts'
import { type Program, startProgram, until } from '../support/process.ts'

/** Time as a gateway lives it: it stands still while the process is frozen. */
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

/** Something that was broken, and for how long, by `performance.now`. */
export interface Fault {
  readonly what: 'gateway' | 'redis' | 'postgres' | 'vendor'
  /** As the figures name it. */
  readonly kind: string
  /** Of the gateway. */
  readonly at?: number
  /** Data went with it. */
  readonly isLoss?: boolean
  /** When the process was killed, if it was. */
  killedMs?: number
  readonly fromMs: number
  /** Infinity while it lasts. */
  toMs: number
}

export interface Lanes {
  readonly installation: Installation
  readonly vendor: VendorProcess
  /** One for each gateway. */
  readonly clocks: readonly LivingClock[]
  readonly random: () => number
  /** PostgreSQL is not stopped. */
  readonly postgresStays: boolean
  /** Faults come so many times as often. */
  readonly rush: number
  /** Hears of every fault as it begins. */
  begin(fault: Fault): Fault
  /** Hears of what did not heal. */
  complain(why: string): void
}

interface Lane {
  /** Twice the mean time between two faults. */
  readonly everyMs: number
  fault(): Promise<void>
}

/** Faults at random times, each part on a lane of its own, until the signal; then all is healed. */
export async function makeFaults(lanes: Lanes, signal: AbortSignal): Promise<void> {
  const { gateways, redis } = lanes.installation
  const postgres = lanes.postgresStays ? undefined : lanes.installation.postgres
  const isAlone = gateways.length === 1
  await Promise.all([
    ...gateways.map((_, at) =>
      lane(lanes, signal, { everyMs: isAlone ? 14_000 : 60_000, fault: () => gatewayFault(lanes, at) }),
    ),
    lane(lanes, signal, { everyMs: isAlone ? 20_000 : 60_000, fault: () => vendorFault(lanes) }),
    ...(postgres
      ? [lane(lanes, signal, { everyMs: isAlone ? 45_000 : 80_000, fault: () => databaseFault(lanes) })]
      : []),
    ...(redis ? [lane(lanes, signal, { everyMs: 80_000, fault: () => redisFault(lanes) })] : []),
  ])
}

async function lane({ random, rush }: Lanes, signal: AbortSignal, { everyMs, fault }: Lane): Promise<void> {
  for (;;) {
    await wait((random() * everyMs) / rush, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    await fault()
  }
}

/** Longer than a hold's term now and then, where others may then end its calls. */
const shortPauseMs = 6_000
const longPauseMs = 20_000

/** A kill, a pause, or a pause that ends in a kill. */
async function gatewayFault({ installation, clocks, random, rush, begin, complain }: Lanes, at: number): Promise<void> {
  const gateway = installation.gateways[at]
  const clock = clocks[at]
  if (!gateway || !clock) return
  // A process that is on its way up is killed as well, but a gateway must also serve now and then.
  if (random() < 0.8) await gateway.up().catch((error: unknown) => complain(`gateway ${at}: ${String(error)}`))
  const { process } = gateway
  const chosen = random()
  const start = { what: 'gateway', at, fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY } as const
  if (chosen < 0.5) {
    const fault = begin({ ...start, kind: 'gateway kill -9', killedMs: start.fromMs })
    await process.kill('SIGKILL')
    fault.toMs = performance.now()
    return
  }
  const isKilled = chosen < 0.65
  const isLong = installation.gateways.length > 1 && random() < 0.4
  const fault = begin({ ...start, kind: isKilled ? 'gateway kill -9 in a pause' : `gateway pause` })
  clock.freeze()
  process.freeze()
  await wait((random() * (isLong ? longPauseMs : shortPauseMs)) / rush)
  if (isKilled) {
    fault.killedMs = performance.now()
    await process.kill('SIGKILL')
  } else process.thaw()
  clock.thaw()
  fault.toMs = performance.now()
}

async function vendorFault({ vendor, random, begin }: Lanes): Promise<void> {
  const fault = begin({ what: 'vendor', kind: 'vendor kill -9', fromMs: performance.now(), toMs: Infinity })
  await vendor.kill(random() * 2_000)
  fault.toMs = performance.now()
}

async function databaseFault({ installation: { postgres }, random, begin }: Lanes): Promise<void> {
  const fault = begin({
    what: 'postgres',
    kind: 'PostgreSQL immediate stop',
    fromMs: performance.now(),
    toMs: Infinity,
  })
  await postgres?.crash()
  await wait(random() * 5_000)
  await postgres?.restart()
  fault.toMs = performance.now()
}

const redisKinds = ['Redis kill -9, data kept', 'Redis kill -9, data lost', 'Redis pause', 'Redis FLUSHALL'] as const

async function redisFault({ installation: { redis }, random, rush, begin }: Lanes): Promise<void> {
  if (!redis) return
  const kind = redisKinds[Math.floor(random() * redisKinds.length)] ?? redisKinds[0]
  const isLoss = kind.endsWith('data lost') || kind.endsWith('FLUSHALL')
  const fault = begin({ what: 'redis', kind, isLoss, fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY })
  if (kind === 'Redis FLUSHALL') await redis.send('FLUSHALL')
  else if (kind === 'Redis pause') {
    redis.process.kill('SIGSTOP')
    await wait((random() * (random() < 0.3 ? longPauseMs : shortPauseMs)) / rush)
    redis.process.kill('SIGCONT')
  } else {
    await redis.crash()
    await wait(random() * 4_000)
    await redis.revive(kind.endsWith('kept') ? 'kept' : 'lost')
  }
  fault.toMs = performance.now()
}
