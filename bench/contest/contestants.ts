import { join } from 'node:path'
import { root } from '../../test/source.ts'
import { nodeProgram } from '../../test/support/process.ts'
import { startNginx } from './nginx.ts'
import { startPortkey } from './portkey.ts'
import { startProgram } from './programs.ts'
import { type Books, startTollgate } from './tollgate.ts'

/** Where a contestant runs and what it stands before. */
export interface Setting {
  readonly vendorUrl: string
  /** Where it may start, as a list for taskset: on all cores, because that takes long. */
  readonly cores: string
  /** What Node is told beside, where the contestant is one of ours. */
  readonly nodeArgs?: readonly string[]
  /** The checkout that is started, where it is one of ours; this one without it. */
  readonly folder?: string
  /** What the vendor is asked for, where it is something else than the contest's loads. */
  readonly models?: readonly string[]
  /** How long a package may take to come from its registry. */
  readonly fetchMs: number
}

/** One that runs. */
export interface Contestant {
  readonly port: number
  /** Undefined for the vendor itself, which is asked directly for comparison. */
  readonly pid: number | undefined
  /** Lines of the head that it needs of every call. */
  readonly headers: readonly string[]
  /** Of those that bill. */
  readonly books?: Books
  /** Its figures in Prometheus's text form, of those that have any. */
  metrics?(): Promise<string>
  /** What it printed. */
  said?(): string
  stop(): Promise<void>
}

interface Entry {
  readonly about: string
  /** Whether there is no contest without it. */
  readonly isNeeded?: true
  /** Left out of a quick run unless it is asked for. */
  readonly isExtra?: true
  readonly start: (setting: Setting) => Promise<Contestant>
}

const startMs = 20_000

async function startBare({ vendorUrl, cores }: Setting): Promise<Contestant> {
  const args = [join(root, 'bench/bare-proxy.ts'), vendorUrl]
  const program = startProgram({ command: nodeProgram, args, cores })
  const [, port] = await program.says(/listening (\d+)/, startMs)
  return { port: Number(port), pid: program.pid, headers: [], stop: program.stop }
}

export const contestants = {
  direct: {
    about: 'the vendor, asked directly',
    start: ({ vendorUrl }) =>
      Promise.resolve({
        port: Number(new URL(vendorUrl).port),
        pid: undefined,
        headers: [],
        stop: () => Promise.resolve(),
      }),
  },
  nginx: { about: 'nginx, one worker, no buffers', start: startNginx },
  bare: { about: 'node:http and undici, nothing else', isNeeded: true, start: startBare },
  embedded: { about: 'Tollgate on PGlite', isNeeded: true, start: (setting) => startTollgate('pglite', setting) },
  postgres: {
    about: 'Tollgate on PostgreSQL, holds in the process',
    isExtra: true,
    start: (setting) => startTollgate('postgres', setting),
  },
  scaled: { about: 'Tollgate on Redis and PostgreSQL', start: (setting) => startTollgate('redis', setting) },
  portkey: { about: 'the Portkey gateway, which bills nothing', start: startPortkey },
} as const satisfies Record<string, Entry>

export type Name = keyof typeof contestants

export const names = Object.keys(contestants) as Name[]

/** What is known of one by its name. */
export function entryOf(name: Name): Entry {
  return contestants[name]
}
