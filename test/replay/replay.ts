import type { Tokenizer } from '../../src/ports.ts'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import { addresses } from '../../src/vendors/addresses.ts'
import { vendors as adapters } from '../../src/vendors/index.ts'
import type { Vendor } from '../../src/vendors/vendor.ts'
import type { CutLimit } from './cuts.ts'
import { crossings, replayCrossed } from './crossed.ts'
import { countingKinds, replayCounting } from './counting.ts'
import { replayEntry } from './entry.ts'
import { appUsage, corrected, type Told, unsupported } from './exceptions.ts'
import { startReplayGateway } from './gateway.ts'
import { type Entry, ManifestError, readEntry, readFolders, readRecording, type Folder } from './manifest.ts'
import { decode, objectIn } from './reader.ts'
import { startRecordedVendor } from './recorded-vendor.ts'
import type { Failure, VendorReport } from './report.ts'
import { replayNative } from './native.ts'
import { isOperationKind, recordingRequest, replayOperation, whyNoOperation } from './operations.ts'
import type { Bench, Recording } from './run.ts'
import type { Form, Tongue } from './tongue.ts'
import { chatTongue } from './tongue-chat.ts'
import { completionsTongue } from './tongue-completions.ts'
import { messagesTongue } from './tongue-messages.ts'
import { conversations, tongues } from './tongues.ts'

export interface ReplayOptions {
  readonly dir: string
  /** Folders to replay; all where absent. */
  readonly vendors?: readonly string[]
  /** Kinds of entries to replay; all that are supported where absent, and the rest is reported as skipped. */
  readonly kinds?: readonly string[]
  readonly cuts?: CutLimit
  /** Every answer is asked for in the dialects that its vendor does not speak, in place of its own. */
  readonly crossed?: boolean
  progress(line: string): void
}

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

/** Kinds of a folder whose wire is not that of the adapter of its name. */
const adapterOfKind: Readonly<Record<string, string>> = {
  'bedrock/invoke': 'bedrock-invoke',
  'gemini/chat': 'gemini-compatible',
  'openai/completions': 'openai-completions',
  'ollama/ollama-chat': 'ollama-native',
  'ollama/ollama-generate': 'ollama-native',
  'qwen/native-app': 'dashscope',
  'qwen/native-generation': 'dashscope',
  'qwen/native-tokenizer': 'dashscope',
  'qwen/native-multimodal': 'dashscope',
}

async function replayFolder(folder: Folder, options: FolderOptions): Promise<VendorReport> {
  const skipped = new Map<string, number>()
  const recordings = new Map<string, Recording[]>()
  for (const entry of folder.entries) {
    const adapter = adapterOfKind[`${folder.vendor}/${entry.kind}`] ?? folder.vendor
    const reason =
      unsupported[entry.id] ??
      whyNoOperation(entry.id) ??
      whyNot(adapter, entry.kind, options.crossed === true) ??
      whyNotCrossed(entry, options)
    if (reason === undefined) recordings.set(adapter, [...(recordings.get(adapter) ?? []), load(folder, entry)])
    else skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
  }
  const failures: Failure[] = []
  for (const [adapter, own] of recordings) failures.push(...(await replayAll(adapter, own, options)))
  const count = [...recordings.values()].reduce((sum, own) => sum + own.length, 0)
  return { vendor: folder.vendor, passed: count - failures.length, failures, skipped }
}

/** Why entries of this kind are not replayed; undefined where they are. */
function whyNot(vendor: string, kind: string, isCrossed: boolean): string | undefined {
  const adapter = adapters.get(vendor)
  if (!adapter || addresses[vendor]?.local) return 'no adapter has the name of this folder'
  if (isCrossed)
    return wiresOf(adapter).includes(kind) ? undefined : `kind ${kind} is not what other dialects are told in`
  if (isOperationKind(kind) || isOtherWire(vendor, kind)) return undefined
  if (countingKinds.has(kind)) return adapter.counting ? undefined : 'this adapter counts no prompts'
  const tongue = tongues.get(kind)
  if (!tongue) return `kind ${kind} is not replayed`
  return adapter.speaks.includes(tongue.dialect) ? undefined : `this adapter does not speak ${tongue.dialect}`
}

/** What only the vendor's own dialect has, so that nobody would have asked for it in another. */
const ownFeatures: Readonly<Record<string, string>> = {
  'choices>1': 'several choices',
  function_call: 'a function of the old form',
}

function whyNotCrossed({ raw }: Folder['entries'][number], { crossed }: ReplayOptions): string | undefined {
  if (!crossed) return undefined
  const { features } = raw as { readonly features?: readonly string[] }
  const own = features?.map((feature) => ownFeatures[feature]).find((what) => what !== undefined)
  return own === undefined ? undefined : `${own}, which not every dialect can ask for`
}

/** Wires of adapters that speak no dialect of callers. */
const otherWires: Readonly<Record<string, readonly string[]>> = {
  bedrock: ['converse'],
  'bedrock-invoke': ['invoke'],
  cohere: ['chat'],
  dashscope: ['native-generation', 'native-multimodal', 'native-app'],
  dify: ['chat-messages', 'completion-messages', 'workflows-run'],
  'ollama-native': ['ollama-chat', 'ollama-generate'],
}

/** Whether callers can only have it translated; then they ask for chat completions. */
function isOtherWire(adapter: string, kind: string): boolean {
  return otherWires[adapter]?.includes(kind) === true
}

/** Who asks for it: chat completions have words for all that such vendors say. */
function callersOf(kind: string): Tongue {
  if (kind === 'ollama-generate') return completionsTongue
  return kind === 'invoke' ? messagesTongue : chatTongue
}

/** The kinds of recordings that a vendor answers with to callers of other dialects. */
function wiresOf({ id, speaks }: Vendor): readonly string[] {
  const spoken = conversations.find(({ dialect }) => speaks.includes(dialect))
  return spoken ? [spoken.kind] : (otherWires[id] ?? [])
}

function load(folder: Folder, listed: Folder['entries'][number]): Recording {
  const read = named(readEntry(folder, listed))
  const response = readRecording(folder, read.response_file)
  const entry = corrected(read, toldIn(read, response))
  const file = entry.request_file
  const request =
    typeof file === 'string'
      ? readRecording(folder, file)
      : minimalRequest(entry.kind, { model: modelOf(entry), stream: entry.streaming })
  return {
    entry,
    request,
    response,
    ...requestFacts(folder, entry, request),
  }
}

/** What the vendor's own bytes say, for kinds that manifests do not read; errors are read elsewhere. */
function toldIn({ kind, status, streaming }: Entry, response: Uint8Array): Told | undefined {
  if (status !== 200) return undefined
  if (kind === 'native-app') return { usage: appUsage(objectIn(decode(response))) }
  if (kind === 'completions') return completionsTongue[streaming ? 'readStream' : 'readBody'](response)
  return kind === 'invoke' && !streaming ? messagesTongue.readBody(response) : undefined
}

/** Where the address decides what answers, its kind stands for the model. */
const modelOfKind: Readonly<Record<string, string>> = {
  'chat-messages': 'chat-messages',
  'completion-messages': 'completion-messages',
  'workflows-run': 'workflows-run',
  'native-app': 'apps/recorded',
}

function modelOf({ kind, model }: Entry): string {
  return model ?? modelOfKind[kind] ?? unknownModel
}

/** Where a model's name was read from an address, it still has the address's escapes. */
function named(entry: Entry): Entry {
  return { ...entry, model: entry.model?.replaceAll('%3A', ':') }
}

function minimalRequest(kind: string, { model, stream }: Form): Uint8Array {
  if (kind === 'audio') return new TextEncoder().encode(JSON.stringify(recordingRequest(model)))
  const messages = [{ role: 'user', content: 'Say something.' }]
  const tongue = kind === 'chat' ? undefined : tongues.get(kind)
  const plain = { model, messages, ...(stream && { stream }) }
  return new TextEncoder().encode(JSON.stringify(tongue?.request({ model, stream }) ?? plain))
}

/** Some dialects name the model in the address, and not in the body. */
function requestFacts({ path }: Folder, entry: Entry, request: Uint8Array): Pick<Recording, 'model' | 'asked'> {
  try {
    const asked = JSON.parse(new TextDecoder().decode(request)) as Recording['asked']
    const { model = modelOf(entry) } = asked
    if (typeof model === 'string') return { asked, model }
  } catch {
    // Said below, together with a request that names no model.
  }
  throw new ManifestError(`${path}: the request of entry ${entry.id} is no JSON object with a model.`)
}

async function replayAll(
  vendor: string,
  recordings: readonly Recording[],
  options: FolderOptions,
): Promise<readonly Failure[]> {
  const { tokenizer, cuts, progress } = options
  const recordedVendor = await startRecordedVendor()
  const models = [...new Set(recordings.flatMap(({ model, asked }) => [model, ...standInsOf(asked)]))]
  const failures: Failure[] = []
  try {
    const gateway = await startReplayGateway({ adapter: vendor, vendorUrl: recordedVendor.url, models, tokenizer })
    const speaks = adapters.get(vendor)?.speaks ?? []
    const bench: Bench = { gateway, vendor: recordedVendor, speaks, ...(cuts !== undefined && { cuts }) }
    try {
      for (const [at, recording] of recordings.entries()) {
        if (at % progressEvery === 0) progress(`${vendor}: ${at} of ${recordings.length}`)
        const differences = options.crossed
          ? await crossAll(bench, recording)
          : await replayOne(bench, vendor, recording)
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

/** Models that a caller names beside the one that he asks for. */
function standInsOf({ models }: Recording['asked']): readonly string[] {
  return Array.isArray(models) ? models.filter((name): name is string => typeof name === 'string') : []
}

function replayOne(bench: Bench, adapter: string, recording: Recording): Promise<readonly string[]> {
  const { kind } = recording.entry
  if (isOperationKind(kind)) return replayOperation(bench, recording)
  if (countingKinds.has(kind)) return replayCounting(bench, recording)
  if (isOtherWire(adapter, kind)) return replayCrossed(bench, recording, callersOf(kind))
  const tongue = kind === 'chat' ? undefined : tongues.get(kind)
  return tongue ? replayNative(bench, recording, tongue) : replayEntry(bench, recording)
}

async function crossAll(bench: Bench, recording: Recording): Promise<readonly string[]> {
  const differences: string[] = []
  for (const tongue of crossings(bench.speaks)) differences.push(...(await replayCrossed(bench, recording, tongue)))
  return differences
}
