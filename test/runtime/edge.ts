import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { root } from '../source.ts'
import { nodeProgram } from '../support/process.ts'

const bundleMs = 120_000
const startMs = 30_000

/** The worker as it would be deployed, in the runtime that would run it, on this machine. */
export interface Edge {
  /** What the bundler put together. */
  readonly modules: readonly string[]
  /** A gateway with its key and OpenAI's. */
  readonly url: string
  /** The same without any binding. */
  readonly bareUrl: string
  stop(): Promise<void>
}

export interface EdgeOptions {
  readonly masterKey: string
  /** Host and port that every request of the worker to the outside goes to, whatever its address. */
  readonly outside: string
}

/** Bundles the worker as `wrangler deploy` does and serves it with workerd. Needs no network. */
export async function startEdge({ masterKey, outside }: EdgeOptions): Promise<Edge> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-edge-'))
  await bundle(folder)
  const modules = readdirSync(folder)
    .filter((name) => /\.(?:js|wasm|yaml)$/.test(name))
    .toSorted((a, b) => Number(b === 'worker.js') - Number(a === 'worker.js'))
  writeFileSync(join(folder, 'edge.capnp'), capnp({ modules, masterKey, outside }))
  const workerd = spawn(runtime(), ['serve', 'edge.capnp', '--control-fd=3'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  })
  process.once('exit', () => workerd.kill('SIGKILL'))
  const ended = new Promise((resolve) => workerd.once('exit', resolve))
  const ports = await portsOf(workerd.stdio[3] as Readable)
  return {
    modules,
    url: `http://127.0.0.1:${ports.get('full')}`,
    bareUrl: `http://127.0.0.1:${ports.get('bare')}`,
    async stop() {
      workerd.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The runtime itself: the program in `.bin` is a wrapper, which hands on no pipe. */
function runtime(): string {
  const folder = join(root, 'node_modules/@cloudflare')
  const name = readdirSync(folder).find((one) => one.startsWith('workerd-')) ?? 'workerd'
  return join(folder, name, 'bin/workerd')
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

/** The runtime says on which ports it listens, one line for each socket. */
function portsOf(control: Readable): Promise<ReadonlyMap<string, number>> {
  const ports = new Map<string, number>()
  const { promise, resolve, reject } = Promise.withResolvers<ReadonlyMap<string, number>>()
  const timer = setTimeout(() => reject(new Error('workerd did not listen')), startMs)
  let pending = ''
  control.setEncoding('utf8')
  control.on('data', (more: string) => {
    const lines = (pending + more).split('\n')
    pending = lines.pop() ?? ''
    for (const line of lines) {
      const { event, socket, port } = JSON.parse(line) as { event: string; socket?: string; port?: number }
      if (event === 'listen' && socket !== undefined && port !== undefined) ports.set(socket, port)
    }
    if (ports.size === 2) resolve(ports)
  })
  control.once('end', () => reject(new Error('workerd ended before it listened')))
  return promise.finally(() => clearTimeout(timer))
}

/** workerd's configuration: the same modules twice, once with bindings. */
function capnp({ modules, masterKey, outside }: EdgeOptions & { readonly modules: readonly string[] }): string {
  const kinds: Readonly<Record<string, string>> = { js: 'esModule', wasm: 'wasm', yaml: 'text' }
  const list = modules
    .map((name) => {
      const inside = name === 'worker.js' ? name : `./${name}`
      return `(name = "${inside}", ${kinds[name.split('.').at(-1) ?? '']} = embed "${name}")`
    })
    .join(', ')
  const worker = (bindings: string) => `(
    modules = [${list}],
    compatibilityDate = "2026-10-01",
    compatibilityFlags = ["enable_request_signal"],
    bindings = [${bindings}],
    globalOutbound = "outside"
  )`
  const bindings = `(name = "TOLLGATE_MASTER_KEY", text = "${masterKey}"), (name = "OPENAI_API_KEY", text = "vendor-secret")`
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "full", worker = ${worker(bindings)}),
    (name = "bare", worker = ${worker('')}),
    (name = "outside", external = (address = "${outside}", http = ()))
  ],
  sockets = [
    (name = "full", address = "127.0.0.1:0", http = (), service = "full"),
    (name = "bare", address = "127.0.0.1:0", http = (), service = "bare")
  ]
);
`
}
