import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from '../source.ts'
import { nodeProgram } from '../support/process.ts'
import { type Runtime, startRuntime } from './runtime.ts'

const bundleMs = 120_000

/** The worker as it would be deployed, in the runtime that would run it, on this machine. */
export interface Edge {
  /** What the bundler put together. */
  readonly modules: readonly string[]
  /** The address of one of the gateways below. */
  url(gateway: Gateway): string
  /** Kills the runtime as it stands, and starts it anew on what it had stored. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/**
 * `memory` has its key and OpenAI's, and no objects; `bare` no binding at all. `durable` keeps its holds in objects on
 * the disk, for a term of 5 s. `one` and `other` are two isolates with the same objects, and 0.003 to spend.
 */
const gateways = ['memory', 'bare', 'durable', 'one', 'other'] as const
type Gateway = (typeof gateways)[number]

export interface EdgeOptions {
  readonly masterKey: string
  /** Host and port that every request of the worker to the outside goes to, whatever its address. */
  readonly outside: string
}

/** Bundles the worker as `wrangler deploy` does and serves it with workerd. Needs no network. */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-edge-'))
  await bundle(folder)
  const modules = readdirSync(folder)
    .filter((name) => /\.(?:js|wasm|yaml)$/.test(name))
    .toSorted((a, b) => Number(b === 'worker.js') - Number(a === 'worker.js'))
  mkdirSync(join(folder, 'objects'))
  const config = capnp(options, modulesIn(folder, modules))
  const start = () => startRuntime(folder, config, gateways.length)
  let runtime: Runtime = await start()
  return {
    modules,
    url: (gateway) => runtime.url(gateway),
    async restart() {
      await runtime.kill()
      runtime = await start()
    },
    async stop() {
      await runtime.kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function bundle(folder: string): Promise<void> {
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js')
  await promisify(execFile)(nodeProgram, [wrangler, 'deploy', '--dry-run', '--outdir', folder], {
    cwd: root,
    timeout: bundleMs,
    env: {
      PATH: process.env['PATH'],
      // Its logs and its account stay out of the way.
      HOME: folder,
      XDG_CONFIG_HOME: folder,
      CI: '1',
      NO_COLOR: '1',
      WRANGLER_SEND_METRICS: 'false',
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    },
  })
}

/** Lists the modules of the bundle, with the configuration of the gateway as it is or with some of its text changed. */
type Modules = (changes?: Readonly<Record<string, string>>) => string

function modulesIn(folder: string, names: readonly string[]): Modules {
  const kinds: Readonly<Record<string, string>> = { js: 'esModule', wasm: 'wasm', yaml: 'text' }
  return (changes = {}) =>
    names
      .map((name) => {
        const inside = name === 'worker.js' ? name : `./${name}`
        const file = name.endsWith('.yaml') ? changed(folder, name, changes) : name
        return `(name = "${inside}", ${kinds[name.split('.').at(-1) ?? '']} = embed "${file}")`
      })
      .join(', ')
}

function changed(folder: string, name: string, changes: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(folder, name), 'utf8')
  for (const [before, after] of Object.entries(changes)) {
    if (!text.includes(before)) throw new Error(`The configuration has no "${before}"`)
    text = text.replace(before, after)
  }
  const file = `${Object.values(changes).join('-').replace(/\W+/g, '-')}-${name}`
  writeFileSync(join(folder, file), text)
  return file
}

/** workerd's configuration: the same modules, each time with other bindings. */
function capnp({ masterKey, outside }: EdgeOptions, modules: Modules): string {
  const worker = (name: Gateway, list: string, rest: string) => `(name = "${name}", worker = (
      modules = [${list}],
      compatibilityDate = "2026-10-01",
      compatibilityFlags = ["enable_request_signal"],
      globalOutbound = "outside", ${rest}
    ))`
  const keys = `(name = "TOLLGATE_MASTER_KEY", text = "${masterKey}"), (name = "OPENAI_API_KEY", text = "vendor-secret")`
  const objects = (key: string) =>
    `durableObjectNamespaces = [(className = "LedgerCell", uniqueKey = "${key}", enableSql = true)]`
  const ledger = (target: string) => `bindings = [${keys}, (name = "LEDGER", durableObjectNamespace = ${target})]`
  const short = modules({ 'term_seconds: 30': 'term_seconds: 5', 'checkpoint_seconds: 2': 'checkpoint_seconds: 1' })
  const poor = modules({ 'starting_balance: 10': 'starting_balance: 0.003' })
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ${worker('memory', modules(), `bindings = [${keys}]`)},
    ${worker('bare', modules(), 'bindings = []')},
    ${worker('durable', short, `${objects('ledger')}, durableObjectStorage = (localDisk = "objects"), ${ledger('"LedgerCell"')}`)},
    ${worker('one', poor, `${objects('poor')}, durableObjectStorage = (localDisk = "objects"), ${ledger('"LedgerCell"')}`)},
    ${worker('other', poor, ledger('(className = "LedgerCell", serviceName = "one")'))},
    (name = "objects", disk = (path = "objects", writable = true)),
    (name = "outside", external = (address = "${outside}", http = ()))
  ],
  sockets = [
    ${gateways.map((name) => `(name = "${name}", address = "127.0.0.1:0", http = (), service = "${name}")`).join(',\n    ')}
  ]
);
`
}
