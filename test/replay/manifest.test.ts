import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ManifestError, readEntry, readFolders, readRecording } from './manifest.ts'

const temporary = mkdtempSync(join(tmpdir(), 'replay-manifest-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

const entry = {
  id: 'a',
  kind: 'chat',
  streaming: false,
  status: 200,
  model: 'm',
  features: [],
  request_file: null,
  response_file: 'a.json',
  response_format: 'json',
  response_headers: { 'content-type': 'application/json' },
}

let folders = 0

/** A folder of recordings with one vendor whose manifest is this text. */
function folderWith(manifest: string): string {
  const dir = join(temporary, String(++folders))
  mkdirSync(join(dir, 'openai'), { recursive: true })
  writeFileSync(join(dir, 'openai', 'manifest.json'), manifest)
  return dir
}

function messageOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof ManifestError) return error.message.replaceAll(/\/\S*\/(?=openai|\d)/g, '')
    throw error
  }
  return 'nothing was thrown'
}

function entryFault(changes: object): string {
  const [folder] = readFolders(folderWith(JSON.stringify({ entries: [{ ...entry, ...changes }] })))
  const [listed] = folder?.entries ?? []
  return messageOf(() => folder && listed && readEntry(folder, listed))
}

test('an entry is read with what it leaves out as empty', () => {
  const { features: _, ...plain } = entry
  const [folder] = readFolders(folderWith(JSON.stringify({ entries: [plain] })))
  const [listed] = folder?.entries ?? []
  expect(folder && listed && readEntry(folder, listed)).toEqual(entry)
})

test('a folder without any manifest is refused', () => {
  const dir = join(temporary, 'empty')
  mkdirSync(dir)
  expect(messageOf(() => readFolders(dir))).toMatch(/empty has no folder with a manifest.json.$/)
})

test('a manifest that is not JSON is refused', () => {
  expect(messageOf(() => readFolders(folderWith('{')))).toBe('openai/manifest.json is not valid JSON.')
})

test('an id that is there twice is refused', () => {
  expect(messageOf(() => readFolders(folderWith(JSON.stringify({ entries: [entry, entry] }))))).toBe(
    'openai/manifest.json: an id is there twice.',
  )
})

test.each(['../secret.json', '/etc/passwd', 'a/b.json', '.hidden', ''])('the file name %j is refused', (name) => {
  expect(entryFault({ response_file: name })).toBe(
    'openai/manifest.json: entry a: response_file: must be the plain name of a file in this folder',
  )
})

test('a fact that nothing compares is refused', () => {
  expect(entryFault({ expect: { words: 3 } })).toBe('openai/manifest.json: entry a: expect: Unrecognized key: "words"')
})

test('a count that is not a whole number is refused', () => {
  const metering = { input: 1.5, cache_read: 0, cache_write: 0, output: 1, reasoning: 0 }
  expect(entryFault({ metering })).toMatch(/^openai\/manifest.json: entry a: metering.input: /)
})

test('a link that leads out of the folder is not followed', () => {
  const dir = folderWith(JSON.stringify({ entries: [entry] }))
  writeFileSync(join(dir, 'outside.json'), '{}')
  symlinkSync(join(dir, 'outside.json'), join(dir, 'openai', 'a.json'))
  const [folder] = readFolders(dir)
  expect(messageOf(() => folder && readRecording(folder, 'a.json'))).toBe('openai/a.json lies outside of its folder.')
})

test('a file that is not there is named', () => {
  const [folder] = readFolders(folderWith(JSON.stringify({ entries: [entry] })))
  expect(messageOf(() => folder && readRecording(folder, 'a.json'))).toBe(
    'openai/a.json is named by the manifest and not there.',
  )
})
