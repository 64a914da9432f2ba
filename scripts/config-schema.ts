import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { jsonSchema } from '../src/config/schema.ts'

/** Writes config/tollgate.schema.json from the schema that the gateway itself uses; `--check` only says if it is fresh. */
const path = fileURLToPath(new URL('../config/tollgate.schema.json', import.meta.url))
const text = `${JSON.stringify(jsonSchema(), null, 2)}\n`

if (!process.argv.includes('--check')) {
  writeFileSync(path, text)
} else if (JSON.stringify(JSON.parse(readFileSync(path, 'utf8'))) !== JSON.stringify(JSON.parse(text))) {
  // Compared as values: the formatter may lay the file out in its own way.
  console.error('config/tollgate.schema.json is stale: run node scripts/config-schema.ts')
  process.exitCode = 1
}
