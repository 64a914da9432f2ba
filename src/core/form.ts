import { concat } from './concat.ts'

/** One part of a `multipart/form-data` body. */
export interface FormPart {
  readonly name: string
  readonly bytes: Uint8Array
  /** There for a file alone, '' where it came without a name. */
  readonly fileName?: string
  /** A file's media type; '' where it came without one. */
  readonly type?: string
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The text of a part. */
export function textOfPart({ bytes }: FormPart): string {
  return decoder.decode(bytes)
}

/** A part that is a plain field. */
export function fieldPart(name: string, text: string): FormPart {
  return { name, bytes: encoder.encode(text) }
}

/** A form's bytes and its content type. `boundary` must be in none of the parts: a random one is not. */
export function writeForm(parts: readonly FormPart[], boundary: string): { bytes: Uint8Array; type: string } {
  const pieces = parts.flatMap((part) => [encoder.encode(`--${boundary}\r\n${headOf(part)}\r\n\r\n`), part.bytes, crlf])
  return {
    bytes: concat([...pieces, encoder.encode(`--${boundary}--\r\n`)]),
    type: `multipart/form-data; boundary=${boundary}`,
  }
}

const crlf = encoder.encode('\r\n')

function headOf({ name, fileName, type }: FormPart): string {
  const disposition = `content-disposition: form-data; name="${quoted(name)}"`
  if (fileName === undefined) return disposition
  const media = type === undefined || type === '' ? 'application/octet-stream' : type
  return `${disposition}; filename="${quoted(fileName)}"\r\ncontent-type: ${media.replace(/[\r\n]/g, ' ')}`
}

/** As browsers escape names: https://html.spec.whatwg.org/#multipart-form-data. */
function quoted(name: string): string {
  return name.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}
