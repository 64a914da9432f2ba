import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { root } from './source.ts'

/** Scripts that write a generated file, and with `--check` only say whether it is fresh. */
const scripts = ['scripts/migrations.ts', 'scripts/config-schema.ts', 'scripts/vendors-page.ts']
const timeoutMs = 25_000

async function check(script: string): Promise<string> {
  const run = promisify(execFile)(process.execPath, [script, '--check'], { cwd: root, timeout: timeoutMs })
  return run.then(
    () => 'fresh',
    (error: Error & { stdout?: string; stderr?: string }) =>
      `${error.stdout ?? ''}${error.stderr ?? ''}` || error.message,
  )
}

describe('generated files', () => {
  for (const script of scripts) {
    const missing = !existsSync(join(root, script))
    if (missing) console.log(`skipped: ${script} is not here, so what it generates cannot be checked`)
    test.skipIf(missing)(`what ${script} writes is fresh`, async () => {
      expect(await check(script)).toBe('fresh')
    })
  }
})
