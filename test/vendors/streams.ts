import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Call } from '../../src/core/call.ts'
import { createSseParser, type ServerEvent } from '../../src/core/sse.ts'
import type { Piece, ReaderOptions, Vendor } from '../../src/vendors/vendor.ts'

const call: Call = {
  id: 'call-1',
  dialect: 'chat',
  operation: 'chat',
  model: 'public',
  body: {},
  inner: {},
  raw: new Uint8Array(0),
  stream: true,
  wantsUsage: true,
  choices: 1,
  startedAtMs: 0,
}
/** Read for a caller who speaks the vendor's dialect. */
export const passing: ReaderOptions = { call, translates: false }
/** Read for one who does not. */
export const translating: ReaderOptions = { call, translates: true }

/** One of our own small streams. */
export function ownStream(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/chat/${name}`, import.meta.url)))
}

export function eventsOf(bytes: Uint8Array): readonly ServerEvent[] {
  const parser = createSseParser()
  return [...parser.push(bytes), ...parser.end()]
}

export function piecesOf(vendor: Vendor, bytes: Uint8Array): readonly Piece[] {
  const read = vendor.reader(passing)
  return eventsOf(bytes).map((event) => read(event))
}

export function event(payload: unknown, name = ''): ServerEvent {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  return { name, data: new TextEncoder().encode(text) }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
