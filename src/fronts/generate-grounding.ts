import type { Json, JsonObject } from '../core/call.ts'
import { isObject, stringOf } from '../core/wire.ts'

/** More would be no list that anybody reads. */
export const maxCitations = 1024

/** Citations of the inner language as `groundingMetadata`: each source once, and what of the text it supports. */
export function groundingOf(annotations: readonly JsonObject[], text: string): JsonObject | undefined {
  const cited = annotations
    .slice(0, maxCitations)
    .flatMap(({ url_citation: citation }) => (isObject(citation) ? [citation] : []))
  if (cited.length === 0) return undefined
  const urls = [...new Set(cited.map(({ url }) => stringOf(url)))]
  const groundingChunks = urls.map((uri) => {
    const title = cited.map((citation) => (citation['url'] === uri ? stringOf(citation['title']) : '')).find(Boolean)
    return { web: { uri, title: title ?? uri } }
  })
  const offset = byteOffsets(text)
  const groundingSupports = cited.map(({ url, start_index: start, end_index: end }) => ({
    segment: segmentOf(text, { start, end, offset }),
    groundingChunkIndices: [urls.indexOf(stringOf(url))],
  }))
  return { groundingChunks, groundingSupports }
}

interface Range {
  readonly start: Json | undefined
  readonly end: Json | undefined
  readonly offset: (index: number) => number
}

function segmentOf(text: string, { start, end, offset }: Range): JsonObject {
  const from = placeIn(text, start)
  const to = Math.max(from, placeIn(text, end))
  return { startIndex: offset(from), endIndex: offset(to), text: text.slice(from, to) }
}

function placeIn(text: string, index: Json | undefined): number {
  return typeof index === 'number' ? Math.min(Math.max(0, Math.floor(index)), text.length) : 0
}

/** Google counts bytes of UTF-8. */
function byteOffsets(text: string): (index: number) => number {
  const encoder = new TextEncoder()
  const isAscii = encoder.encode(text).length === text.length
  return (index) => (isAscii ? index : encoder.encode(text.slice(0, index)).length)
}
