import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { addresses } from '../src/vendors/addresses.ts'
import { vendors } from '../src/vendors/index.ts'
import { parameterTables } from '../src/vendors/parameter-tables.ts'
import { innerParameters, type ParameterTable, type ParameterUse } from '../src/vendors/parameters.ts'

/** Writes docs/vendors.md from the adapters' own tables; `--check` only says if it is fresh. */
const path = fileURLToPath(new URL('../docs/vendors.md', import.meta.url))

const head = `# Vendors

<!-- Written by scripts/vendors-page.ts. Do not edit. -->

An adapter is chosen in the [configuration](configuration.md#vendors) by \`adapter\`, or by giving the vendor the adapter's
name. Callers of every dialect reach every vendor. Where a vendor takes a caller's dialect as it comes, the caller's own
bytes go to it: nothing below applies to them, unknown fields are kept, and the vendor judges them itself. In all other
cases the request is translated, and each parameter is

- sent as it is, or in the vendor's own words;
- left out where the answer is still the one asked for; the reply's \`x-tollgate-dropped-params\` names it, and unknown
  fields too;
- or refused with a 400 that names it, after other targets of the model have been tried.

Values that ask for nothing (\`n: 1\`, \`logprobs: false\`, \`null\`) are never refused.

## Addresses

An adapter without an address needs a \`base_url\`. \`openai-compatible\` is for any other server of OpenAI's API.

`

function row(...cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |\n`
}

function code(words: readonly string[]): string {
  return words.map((word) => `\`${word}\``).join(', ')
}

function addressTable(): string {
  const rows = [...vendors.values()]
    .filter(({ id }) => !addresses[id]?.local)
    .map(({ id, speaks }) => row(`\`${id}\``, addresses[id]?.baseUrl ?? '', code(speaks)))
  return row('adapter', 'address', 'takes as they come') + row('---', '---', '---') + rows.join('')
}

function named(table: ParameterTable, use: ParameterUse): string {
  return code(innerParameters.filter((name) => (table[name] ?? 'drop') === use))
}

function parameterTable(): string {
  const groups = new Map<string, string[]>()
  for (const [id, table] of parameterTables) {
    if (!vendors.has(id)) continue
    const cells = row(named(table, 'translate'), named(table, 'drop'), named(table, 'refuse')).slice(2)
    groups.set(cells, [...(groups.get(cells) ?? []), id])
  }
  const rows = [...groups].map(([cells, ids]) => `| ${code(ids)} | ${cells}`)
  return row('adapter', 'in its own words', 'left out', 'refused') + row('---', '---', '---', '---') + rows.join('')
}

const text = `${head}${addressTable()}
## Credentials

A key goes to its vendor as it is, in the header that the vendor wants. Three adapters take more than that:

- \`bedrock\` and \`bedrock-invoke\`, at \`https://bedrock-runtime.REGION.amazonaws.com\`: a Bedrock API key, or an access
  key as \`ID:SECRET\` or \`ID:SECRET:SESSION_TOKEN\`, with which each request is signed (Signature Version 4) for the
  region of the address; at an address of another form, for the \`region\` of the target.
- \`vertex\`, at \`https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION\`: the JSON of a service
  account, best from a variable of the environment, or an OAuth access token that you renew yourself. The JSON is
  exchanged for an access token at its \`token_uri\` once, and again shortly before that ends. With it the address may end
  in \`/v1\`: then its own project is meant, in the region of the address (\`https://aiplatform.googleapis.com/v1\`:
  \`global\`). With an API key the address without a project is express mode.
- \`azure\`: a key, or a token of Entra ID as a bearer. The address ends in \`/openai/v1\` (or with the resource, which is
  the same), in \`/openai/deployments\`, which the name of the only deployment may follow, or in \`/models\`. The latter two
  may end in a version, such as \`/2025-01-01-preview\` in place of \`?api-version=\`.

A credential that is refused parks its key like any other refused key: see [vendor keys](routing.md#vendor-keys).

## Parameters of other dialects

In the names of OpenAI's chat completions, into which every request is brought first. What is not named is sent as it is.

${parameterTable()}`

if (!process.argv.includes('--check')) {
  writeFileSync(path, text)
} else if (readFileSync(path, 'utf8') !== text) {
  console.error('docs/vendors.md is stale: run node scripts/vendors-page.ts')
  process.exitCode = 1
}
