import type { Tokenizer } from '../../src/ports.ts'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import { addresses } from '../../src/vendors/addresses.ts'
import { vendors as adapters } from '../../src/vendors/index.ts'
import type { CutLimit } from './cuts.ts'
import { replayEntry } from './entry.ts'
import { startReplayGateway } from './gateway.ts'
import { ManifestError, readEntry, readFolders, readRecording, type Folder } from './manifest.ts'
import { startRecordedVendor } from './recorded-vendor.ts'
import type { Failure, VendorReport } from './report.ts'
import type { Bench, Recording } from './run.ts'

export interface ReplayOptions {
  readonly dir: string
  /** Folders to replay; all where absent. */
  readonly vendors?: readonly string[]
  /** Kinds of entries to replay; all that are supported where absent, and the rest is reported as skipped. */
  readonly kinds?: readonly string[]
  readonly cuts?: CutLimit
  progress(line: string): void
}

/** The one kind that the reader and the caller here speak. */
const supportedKind = 'chat'
/** A line of progress every so many entries. */
const progressEvery = 20
/** For a recording whose model is not known. */
const unknownModel = 'recorded-model'

/** Replays every folder. Throws ManifestError where `dir` or a manifest cannot be used. */
export async function replay(options: ReplayOptions): Promise<readonly VendorReport[]> {
  const folders = chosen(readFolders(options.dir), options)
  const tokenizer = await openTokenizer()
  try {
    const reports: VendorReport[] = []
    for (const folder of folders) reports.push(await replayFolder(folder, { ...options, tokenizer }))
    return reports
  } finally {
    await tokenizer.close()
  }
}

function chosen(folders: readonly Folder[], { dir, vendors, kinds }: ReplayOptions): readonly Folder[] {
  const missing = vendors?.find((name) => !folders.some(({ vendor }) => vendor === name))
  if (missing !== undefined) throw new ManifestError(`${dir} has no folder "${missing}" with a manifest.json.`)
  return folders
    .filter(({ vendor }) => vendors?.includes(vendor) ?? true)
    .map((folder) => ({ ...folder, entries: folder.entries.filter(({ kind }) => kinds?.includes(kind) ?? true) }))
}

interface FolderOptions extends ReplayOptions {
  readonly tokenizer: Tokenizer
}

async function replayFolder(folder: Folder, options: FolderOptions): Promise<VendorReport> {
  const skipped = new Map<string, number>()
  const recordings: Recording[] = []
  for (const entry of folder.entries) {
    const reason = whyNot(folder.vendor, entry.kind)
    if (reason === undefined) recordings.push(load(folder, entry))
    else skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
  }
  const failures = recordings.length > 0 ? await replayAll(folder.vendor, recordings, options) : []
  return { vendor: folder.vendor, passed: recordings.length - failures.length, failures, skipped }
}

/** Why entries of this kind are not replayed; undefined where they are. */
function whyNot(vendor: string, kind: string): string | undefined {
  const adapter = adapters.get(vendor)
  if (!adapter || addresses[vendor]?.local) return 'no adapter has the name of this folder'
  if (kind !== supportedKind) return `kind ${kind} is not replayed`
  return adapter.speaks.includes(supportedKind) ? undefined : `this adapter does not speak ${supportedKind}`
}

function load(folder: Folder, listed: Folder['entries'][number]): Recording {
  const entry = readEntry(folder, listed)
  const file = entry.request_file
  const request =
    typeof file === 'string'
      ? readRecording(folder, file)
      : minimalRequest(entry.model ?? unknownModel, entry.streaming)
  return {
    entry,
    request,
    response: readRecording(folder, entry.response_file),
    ...requestFacts(folder, entry.id, request),
  }
}

function minimalRequest(model: string, stream: boolean): Uint8Array {
  const messages = [{ role: 'user', content: 'Say something.' }]
  return new TextEncoder().encode(JSON.stringify({ model, messages, ...(stream && { stream }) }))
}

function requestFacts({ path }: Folder, id: string, request: Uint8Array): Pick<Recording, 'model' | 'asked'> {
  try {
    const asked = JSON.parse(new TextDecoder().decode(request)) as Recording['asked']
    const { model } = asked
    if (typeof model === 'string') return { asked, model }
  } catch {
    // Said below, together with a request that names no model.
  }
  throw new ManifestError(`${path}: the request of entry ${id} is no JSON object with a model.`)
}

async function replayAll(
  vendor: string,
  recordings: readonly Recording[],
  options: FolderOptions,
): Promise<readonly Failure[]> {
  const { tokenizer, cuts, progress } = options
  const recordedVendor = await startRecordedVendor()
  const models = [...new Set(recordings.map(({ model }) => model))]
  const failures: Failure[] = []
  try {
    const gateway = await startReplayGateway({ adapter: vendor, vendorUrl: recordedVendor.url, models, tokenizer })
    const bench: Bench = { gateway, vendor: recordedVendor, ...(cuts !== undefined && { cuts }) }
    try {
      for (const [at, recording] of recordings.entries()) {
        if (at % progressEvery === 0) progress(`${vendor}: ${at} of ${recordings.length}`)
        const differences = await replayEntry(bench, recording)
        if (differences.length > 0) failures.push({ id: recording.entry.id, differences })
      }
    } finally {
      await gateway.close()
    }
  } finally {
    await recordedVendor.close()
  }
  progress(`${vendor}: ${recordings.length} of ${recordings.length}`)
  return failures
}
