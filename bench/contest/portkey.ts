import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../test/db/real-postgres.ts'
import { nodeProgram } from '../../test/support/process.ts'
import type { Contestant, Setting } from './contestants.ts'
import { answers } from './nginx.ts'
import { startProgram } from './programs.ts'

const version = '1.15.2'
const startMs = 15_000

/** Newer ones of its own web server break every stream that it relays (its issues 1389 and 1550). */
const overrides = { '@hono/node-server': '1.14.1' }

/** The gateway that npm has, installed into a folder of its own. Throws where there is no way to the registry. */
export async function startPortkey({ vendorUrl, cores, fetchMs }: Setting): Promise<Contestant> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-portkey-'))
  const remove = () => rmSync(home, { recursive: true, force: true })
  try {
    writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, overrides }))
    await install(home, fetchMs)
    const port = await freePort()
    const program = startProgram({
      command: nodeProgram,
      args: [join(home, 'node_modules/@portkey-ai/gateway/build/start-server.js'), `--port=${port}`, '--headless'],
      cwd: home,
      cores,
      env: { TRUSTED_CUSTOM_HOSTS: '127.0.0.1' },
    })
    await answers(port, startMs).catch(async (error: unknown) => {
      await program.stop()
      throw new Error(`it did not start: ${program.text().slice(-500)}`, { cause: error })
    })
    return {
      port,
      pid: program.pid,
      headers: [
        'authorization: Bearer secret-of-the-vendor',
        'x-portkey-provider: openai',
        `x-portkey-custom-host: ${vendorUrl}/v1`,
      ],
      async stop() {
        await program.stop()
        remove()
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}

async function install(home: string, withinMs: number): Promise<void> {
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', home]
  try {
    await promisify(execFile)('npm', [...args, `@portkey-ai/gateway@${version}`], { cwd: home, timeout: withinMs })
  } catch (error) {
    throw new Error(`npm did not install it within ${withinMs / 1_000} s`, { cause: error })
  }
}
