import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseJson, printJson } from '../../src/platform/bigint-json.ts'
import type { CellStub } from '../../src/platform/durable.ts'
import { root, textOf } from '../source.ts'
import { type Runtime, startRuntime } from './runtime.ts'

/** The objects of the ledger in the runtime of the edge, and a way to ask them from here. */
export interface Cells {
  /** The object of this name. */
  stub(name: string): CellStub
  freeze(): void
  thaw(): void
  /** Kills the runtime and starts it anew on what it had stored. */
  restart(): Promise<void>
  stop(): Promise<void>
}

const main = relative(root, fileURLToPath(new URL('./cells-worker.ts', import.meta.url)))

/** Serves the objects as they stand in src/, with no bundler between. */
export async function startCells(): Promise<Cells> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-cells-'))
  mkdirSync(join(folder, 'objects'))
  const modules = closureOf(main)
  for (const [name, text] of modules) {
    mkdirSync(join(folder, dirname(name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  const config = capnp([...modules.keys()])
  let runtime: Runtime = await startRuntime(folder, config, 1)

  async function ask(name: string, method: string, ...args: readonly unknown[]): Promise<unknown> {
    const answer = await fetch(runtime.url('cells'), { method: 'POST', body: printJson({ name, method, args }) })
    const text = await answer.text()
    if (!answer.ok) throw new Error(text)
    return text === '' ? undefined : parseJson(text)
  }
  return {
    stub: (name) => stubOf((method, ...args) => ask(name, method, ...args)),
    freeze: () => runtime.freeze(),
    thaw: () => runtime.thaw(),
    async restart() {
      await runtime.kill()
      runtime = await startRuntime(folder, config, 1)
    },
    async stop() {
      await runtime.kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The object answers each question with what the stub promises: both ends are ours. */
function stubOf(ask: (method: string, ...args: readonly unknown[]) => Promise<unknown>): CellStub {
  const methods = ['run', 'claim', 'begin', 'account', 'key', 'lend', 'lendSlots'] as const
  const asking = methods.map((method) => [method, (...args: readonly unknown[]) => ask(method, ...args)])
  return Object.fromEntries(asking) as unknown as CellStub
}

/** A program and all that it imports, by their paths, without types. */
export function closureOf(file: string, found = new Map<string, string>()): Map<string, string> {
  if (found.has(file)) return found
  const text = stripTypeScriptTypes(textOf(file))
  found.set(file, text)
  for (const [, name = ''] of text.matchAll(/^(?:import|export)\b[^'\n]*'(\.[^'\n]+)'/gm))
    closureOf(posix.join(posix.dirname(file), name), found)
  return found
}

function capnp(modules: readonly string[]): string {
  const list = modules.map((name) => `(name = "${name}", esModule = embed "${name}")`).join(',\n      ')
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "cells", worker = (
      modules = [
      ${list}],
      compatibilityDate = "2026-10-01",
      durableObjectNamespaces = [(className = "LedgerCell", uniqueKey = "ledger", enableSql = true)],
      durableObjectStorage = (localDisk = "objects"),
      bindings = [(name = "LEDGER", durableObjectNamespace = "LedgerCell")]
    )),
    (name = "objects", disk = (path = "objects", writable = true))
  ],
  sockets = [(name = "cells", address = "127.0.0.1:0", http = (), service = "cells")]
);
`
}
