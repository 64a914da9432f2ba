import { closeSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import type { HoldRecord } from '../ledger/engine/records.ts'
import { parseJson, printJson } from './bigint-json.ts'

/** What one line of the journal says: a hold as it is now, or that some holds are no more. */
export type Entry = { readonly hold: HoldRecord } | { readonly drop: readonly string[] | string }

/** A line that could not be read. Its hold, if it was one, falls back to the line before. */
export interface BadLine {
  readonly reason: 'too_long' | 'checksum' | 'not_json'
  /** Counted from 1. */
  readonly line: number
}

/** A hold is some kilobytes; this bounds what a reader keeps of a damaged file. */
const maxLineBytes = 1024 * 1024
const chunkBytes = 256 * 1024
const newline = 0x0a
const checksumLength = 8

/** One line: checksum, blank, JSON, newline. Throws RangeError beyond `maxLineBytes`. */
export function printLine(entry: Entry): Buffer {
  const json = printJson(entry)
  const length = checksumLength + 1 + Buffer.byteLength(json) + 1
  if (length > maxLineBytes) throw new RangeError('A hold is too large for the journal')
  // In one piece and encoded once: two lines are written for each call.
  const line = Buffer.allocUnsafe(length)
  line.write(json, checksumLength + 1)
  line.write(`${checksum(line.subarray(checksumLength + 1, length - 1))} `, 'latin1')
  line[length - 1] = newline
  return line
}

/** Every whole line of a journal in order, or what is wrong with it. What follows the last newline was never answered. */
export function* readLines(path: string): Generator<Entry | BadLine> {
  let line = 0
  for (const bytes of wholeLines(path)) {
    line += 1
    if (bytes === 'too_long') yield { reason: 'too_long', line }
    else if (bytes.length > 0) yield parseLine(bytes, line)
  }
}

function parseLine(bytes: Buffer, line: number): Entry | BadLine {
  const json = bytes.subarray(checksumLength + 1)
  if (bytes.toString('latin1', 0, checksumLength) !== checksum(json)) return { reason: 'checksum', line }
  try {
    return parseJson(json.toString()) as Entry
  } catch {
    return { reason: 'not_json', line } // the checksum is right, so another program wrote it
  }
}

function* wholeLines(path: string): Generator<Buffer | 'too_long'> {
  const file = openSync(path, 'r')
  try {
    const chunk = Buffer.alloc(chunkBytes)
    let rest: Buffer[] = []
    let restBytes = 0
    for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) {
      let start = 0
      for (let at = chunk.indexOf(newline); at >= 0 && at < read; at = chunk.indexOf(newline, start)) {
        restBytes += at - start
        yield restBytes > maxLineBytes ? 'too_long' : Buffer.concat([...rest, chunk.subarray(start, at)])
        rest = []
        restBytes = 0
        start = at + 1
      }
      restBytes += read - start
      rest = restBytes > maxLineBytes ? [] : [...rest, Buffer.from(chunk.subarray(start, read))]
    }
  } finally {
    closeSync(file)
  }
}

function checksum(bytes: Buffer): string {
  return crc32(bytes).toString(16).padStart(checksumLength, '0')
}
