import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { z } from 'zod'

/** A folder of recordings that cannot be used as it is; the message says where and what is wrong. */
export class ManifestError extends Error {}

const maxManifestBytes = 16 * 1024 * 1024
const maxEntries = 10_000
/** The largest answer recorded so far is under 2 MB. */
const maxRecordingBytes = 32 * 1024 * 1024
const maxFolders = 1_000
const maxText = 1024 * 1024
const maxHeaders = 64

const fileName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/, { error: 'must be the plain name of a file in this folder' })
const count = z.number().int().min(0).max(1_000_000_000_000)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const name = z.string().min(1).max(256)

const toolCall = z.strictObject({ id: z.string().max(256).nullish(), name, arguments: z.unknown() })

/** An SDK of Google's stores the number that stands for the word. */
function wordOf(number: number): string {
  return ['UNSPECIFIED', 'STOP', 'MAX_TOKENS', 'SAFETY'][number] ?? String(number)
}

/** Strict, so that a fact which nothing here compares is refused and not taken for proven. */
const expected = z.strictObject({
  text_chars: count.optional(),
  text_sha256: sha256.optional(),
  text: z.string().max(maxText).optional(),
  reasoning_chars: count.optional(),
  reasoning_sha256: sha256.optional(),
  tool_calls: z.array(toolCall).max(1_000).optional(),
  finish: z.union([z.string().max(256), z.number().int().transform(wordOf)]).optional(),
  choices: count.optional(),
})

const metering = z.strictObject({
  input: count,
  cache_read: count,
  cache_write: count,
  output: count,
  reasoning: count,
  /** Of `cache_write`, what is kept for an hour. */
  cache_write_1h: count.optional(),
  web_search_requests: count.optional(),
  /** What another model has done on the way: its price is its own, and it is not in the counts above. */
  advisor: z
    .array(z.strictObject({ model: name, input: count, cache_read: count, cache_write: count, output: count }))
    .max(100)
    .optional(),
  /** What the vendor itself bills of these. */
  billed_units: z.record(z.string(), count).optional(),
  note: z.string().max(maxText).optional(),
})

const entry = z.object({
  id: name,
  kind: name,
  streaming: z.boolean(),
  status: z.number().int().min(100).max(599),
  model: name.nullish(),
  features: z.array(name).max(100).default([]),
  request_file: fileName.nullish(),
  response_file: fileName,
  response_format: z.enum(['json', 'sse', 'ndjson', 'eventstream']),
  response_headers: z
    .record(z.string().max(256), z.string().max(8_192))
    .refine((headers) => Object.keys(headers).length <= maxHeaders, {
      error: `must hold at most ${maxHeaders} headers`,
    })
    .nullish(),
  usage: z.record(z.string(), z.unknown()).nullish(),
  expect: expected.nullish(),
  metering: metering.nullish(),
})

/** One recorded exchange, as its manifest has it. */
export type Entry = z.output<typeof entry>
/** What a correct reader finds in the answer. */
export type Expected = z.output<typeof expected>
/** Tokens to charge for; `input` holds the cached and written ones, `output` the reasoning. */
export type Metering = z.output<typeof metering>

/** A vendor's folder. The entries are checked only where they are replayed: other kinds have other fields. */
export interface Folder {
  readonly vendor: string
  readonly path: string
  readonly entries: readonly { readonly id: string; readonly kind: string; readonly raw: unknown }[]
}

const outline = z.object({
  entries: z
    .array(z.looseObject({ id: name, kind: name }))
    .max(maxEntries, { error: `must hold at most ${maxEntries} entries` }),
})

/** Every folder of `dir` that has a manifest, by name. Throws ManifestError. */
export function readFolders(dir: string): readonly Folder[] {
  if (!existsSync(dir) || !statSync(dir).isDirectory()) throw new ManifestError(`${dir} is no folder.`)
  const names = readdirSync(dir, { withFileTypes: true })
    .filter((item) => item.isDirectory() && existsSync(join(dir, item.name, 'manifest.json')))
    .map((item) => item.name)
    .toSorted()
  if (names.length === 0) throw new ManifestError(`${dir} has no folder with a manifest.json.`)
  if (names.length > maxFolders) throw new ManifestError(`${dir} has more than ${maxFolders} folders.`)
  return names.map((vendor) => readFolder(vendor, join(dir, vendor)))
}

function readFolder(vendor: string, path: string): Folder {
  const file = join(path, 'manifest.json')
  if (statSync(file).size > maxManifestBytes)
    throw new ManifestError(`${file} is larger than ${maxManifestBytes} bytes.`)
  const parsed = outline.safeParse(parse(file))
  if (!parsed.success) throw new ManifestError(`${file}: ${faultsOf(parsed.error)}`)
  const { entries } = parsed.data
  const ids = new Set(entries.map(({ id }) => id))
  if (ids.size < entries.length) throw new ManifestError(`${file}: an id is there twice.`)
  return { vendor, path, entries: entries.map((raw) => ({ id: raw.id, kind: raw.kind, raw })) }
}

function parse(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new ManifestError(`${file} is not valid JSON.`, { cause: error })
  }
}

/** An entry of the folder, checked. Throws ManifestError. */
export function readEntry({ path }: Folder, { id, raw }: Folder['entries'][number]): Entry {
  const parsed = entry.safeParse(raw)
  if (!parsed.success) throw new ManifestError(`${join(path, 'manifest.json')}: entry ${id}: ${faultsOf(parsed.error)}`)
  return parsed.data
}

function faultsOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map(({ path, message }) => `${path.join('.') || 'manifest'}: ${message}`)
    .join('; ')
}

/** The bytes of a file that an entry names; one that a link leads out of the folder is refused. Throws ManifestError. */
export function readRecording({ path }: Folder, file: string): Uint8Array {
  const full = join(path, file)
  if (!existsSync(full)) throw new ManifestError(`${full} is named by the manifest and not there.`)
  if (!realpathSync(full).startsWith(realpathSync(path) + sep))
    throw new ManifestError(`${full} lies outside of its folder.`)
  if (statSync(full).size > maxRecordingBytes)
    throw new ManifestError(`${full} is larger than ${maxRecordingBytes} bytes.`)
  return new Uint8Array(readFileSync(full))
}
