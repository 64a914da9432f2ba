import { createHash, createHmac, generateKeyPairSync, verify } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { root } from '../source.ts'
import { closureOf } from './cells.ts'
import { startRuntime } from './runtime.ts'

/** What proves a request to a vendor is made at the edge as it is on Node. */

const config = (modules: readonly string[]): string => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "proving", worker = (
    modules = [${modules.map((name) => `(name = "${name}", esModule = embed "${name}")`).join(', ')}],
    compatibilityDate = "2026-06-01",
    compatibilityFlags = ["nodejs_compat"],
  ))],
  sockets = [(name = "proving", address = "127.0.0.1:0", http = (), service = "proving")],
);
`

test('hashes and signatures of the edge are those of Node', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-proving-'))
  const modules = closureOf(relative(root, fileURLToPath(new URL('./proving-worker.ts', import.meta.url))))
  for (const [name, source] of modules) {
    mkdirSync(join(folder, dirname(name)), { recursive: true })
    writeFileSync(join(folder, name), source)
  }
  const runtime = await startRuntime(folder, config([...modules.keys()]), 1)
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const text = 'Proof of ☂'
  try {
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
    const body = JSON.stringify({ privateKey: pem, text })
    const answer = await fetch(runtime.url('proving'), { method: 'POST', body })
    const { signature, ...hashes } = (await answer.json()) as Record<'hash' | 'keyed' | 'signature', string>
    const inner = createHmac('sha256', 'key').update(text).digest()
    expect(hashes).toEqual({
      hash: createHash('sha256').update(text).digest('hex'),
      keyed: createHmac('sha256', inner).update(text).digest('hex'),
    })
    const signed = Buffer.from(signature, 'base64url')
    expect(verify('RSA-SHA256', Buffer.from(text), publicKey, signed)).toBe(true)
  } finally {
    await runtime.kill()
    rmSync(folder, { recursive: true, force: true })
  }
})
