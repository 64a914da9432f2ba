import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSseParser, type ServerEvent } from '../../src/core/sse.ts'
import type { Piece, Vendor } from '../../src/vendors/vendor.ts'

/** One of our own small streams. */
export function ownStream(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/chat/${name}`, import.meta.url)))
}

export function eventsOf(bytes: Uint8Array): readonly ServerEvent[] {
  const parser = createSseParser()
  return [...parser.push(bytes), ...parser.end()]
}

export function piecesOf(vendor: Vendor, bytes: Uint8Array): readonly Piece[] {
  const read = vendor.reader()
  return eventsOf(bytes).map((event) => read(event))
}

export function event(payload: unknown, name = ''): ServerEvent {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  return { name, data: new TextEncoder().encode(text) }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
