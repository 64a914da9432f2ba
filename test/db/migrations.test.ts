import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { migrations } from '../../src/db/migrations.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('drizzle-kit finds nothing in the schema that no migration has', () => {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-drizzle-'))
  try {
    cpSync(join(root, 'drizzle'), join(home, 'drizzle'), { recursive: true })
    const program = join(root, 'node_modules/drizzle-kit/bin.cjs')
    const choice = ['--dialect', 'postgresql', '--schema', join(root, 'src/db/schema.ts'), '--out', 'drizzle']
    const said = execFileSync(process.execPath, [program, 'generate', ...choice], { cwd: home, encoding: 'utf8' })
    expect(said).toContain('No schema changes')
    const files = readdirSync(join(home, 'drizzle')).filter((file) => file.endsWith('.sql'))
    expect(files.sort()).toEqual(migrations.map(({ name }) => `${name}.sql`))
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
