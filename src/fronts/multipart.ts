import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { type FormPart, textOfPart } from '../core/form.ts'
import type { RequestParts } from './front.ts'
import { wrong } from './body.ts'

/** Sixteen pictures, their mask and all fields there are have room. */
const maxParts = 128
const maxNameLength = 256
const maxFieldBytes = 1024 * 1024
const boundaryPattern = /;\s*boundary=(?:"(?<quoted>[^"]{1,70})"|(?<plain>[^\s;"]{1,70}))/i
const encoder = new TextEncoder()

/**
 * The parts of a `multipart/form-data` body, in their order; undefined for a body of another kind. Vendors are sent a
 * form made anew of these: what they read is what was read here, and never something else that a parser might see.
 */
export async function readForm(
  raw: Uint8Array,
  header: RequestParts['header'],
): Promise<readonly FormPart[] | undefined> {
  const type = header('content-type') ?? ''
  if (!/^multipart\/form-data\b/i.test(type)) return undefined
  const { quoted, plain } = boundaryPattern.exec(type)?.groups ?? {}
  const boundary = quoted ?? plain
  if (boundary === undefined) throw unreadable('its content type names no boundary')
  if (occurrences(raw, encoder.encode(`--${boundary}`)) > maxParts + 1)
    throw new GatewayError('invalid_value', `The form has more than ${maxParts} parts.`)
  const form = await parse(raw, type)
  const parts: FormPart[] = []
  for (const [name, value] of form) {
    if (name.length > maxNameLength) throw unreadable(`a name has more than ${maxNameLength} characters`)
    if (typeof value === 'string') {
      const bytes = encoder.encode(value)
      if (bytes.length > maxFieldBytes) throw wrong(name, `"${name}" is longer than ${maxFieldBytes} bytes.`)
      parts.push({ name, bytes })
    } else {
      const bytes = new Uint8Array(await value.arrayBuffer())
      parts.push({ name, bytes, fileName: value.name, type: value.type })
    }
  }
  return parts
}

async function parse(raw: Uint8Array, type: string): Promise<FormData> {
  try {
    // A copy of its own, because the platform may take the buffer over.
    return await new Response(raw.slice(), { headers: { 'content-type': type } }).formData()
  } catch (cause) {
    throw unreadable('it does not have the form that its boundary promises', cause)
  }
}

function unreadable(why: string, cause?: unknown): GatewayError {
  return new GatewayError('invalid_value', `The form cannot be read: ${why}.`, { cause })
}

/** How often one of these is in the bytes, up to a few more than may be. */
function occurrences(bytes: Uint8Array, mark: Uint8Array): number {
  let count = 0
  let at = 0
  while (count <= maxParts + 1) {
    at = bytes.indexOf(mark[0] ?? 0, at)
    if (at < 0) return count
    if (mark.every((byte, offset) => bytes[at + offset] === byte)) count++
    at++
  }
  return count
}

export interface FormFields {
  /** Fields that are numbers, and those that are true or false. */
  readonly numbers: readonly string[]
  readonly flags: readonly string[]
}

/** The fields of a form as a JSON body would have them; names that end in `[]` are lists. Files are left out. */
export function fieldsOf(parts: readonly FormPart[], { numbers, flags }: FormFields): JsonObject {
  const fields = new Map<string, Json>()
  for (const part of parts) {
    if (part.fileName !== undefined) continue
    const { name } = part
    const text = textOfPart(part)
    const known = fields.get(name)
    if (name.endsWith('[]')) {
      fields.set(name, [...(Array.isArray(known) ? (known as readonly Json[]) : []), text])
      continue
    }
    // Parsers disagree on which of two counts, so a vendor could serve another model than the one that is paid for.
    if (known !== undefined) throw wrong(name, `"${name}" is given twice. Give it once.`)
    fields.set(name, numbers.includes(name) ? numberIn(text) : flags.includes(name) ? flagIn(text) : text)
  }
  return Object.fromEntries(fields)
}

function numberIn(text: string): Json {
  return /^-?\d{1,15}(\.\d{1,15})?$/.test(text.trim()) ? Number(text) : text
}

function flagIn(text: string): Json {
  const word = text.trim().toLowerCase()
  return word === 'true' ? true : word === 'false' ? false : text
}

/** The files under a name, or under the same name as a list. */
export function filesIn(parts: readonly FormPart[], name: string): readonly FormPart[] {
  return parts.filter((part) => part.fileName !== undefined && (part.name === name || part.name === `${name}[]`))
}
