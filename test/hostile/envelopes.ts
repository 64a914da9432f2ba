/** What one call was answered, as `status code param` of a refusal in the caller's own envelope. */
export interface Told {
  readonly status: number
  readonly text: string
  /** Undefined where the answer is no error in the form of this dialect. */
  readonly refusal: string | undefined
}

type Fields = Readonly<Record<string, unknown>>
const object = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})
const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''

/** `status code param` of an error body in the form of a dialect; undefined for anything else. */
export function refusalIn(dialect: string, status: number, text: string): string | undefined {
  let body: Fields
  try {
    body = object(JSON.parse(text))
  } catch {
    return undefined
  }
  const error = object(body['error'])
  if (!isText(error['message'])) return undefined
  const parts = dialect === 'messages' ? anthropic(body, error) : (google(dialect, status, error) ?? openai(error))
  return parts && [status, ...parts.filter((part) => part !== undefined && part !== null)].join(' ')
}

function openai({ type, code, param }: Fields): readonly unknown[] | undefined {
  return isText(type) && isText(code) && (param === null || isText(param)) ? [code, param] : undefined
}

function anthropic({ type, request_id: id }: Fields, error: Fields): readonly unknown[] | undefined {
  const { error_code: code, param } = object(error['details'])
  return type === 'error' && isText(error['type']) && isText(id) ? [code, param] : undefined
}

function google(
  dialect: string,
  status: number,
  { code, status: word, details }: Fields,
): readonly unknown[] | undefined {
  if (dialect !== 'generate' && dialect !== 'embed') return undefined
  if (code !== status || !isText(word) || !Array.isArray(details)) return undefined
  const [info, bad] = details.map(object)
  const [violation] = (bad?.['fieldViolations'] ?? []) as readonly Fields[]
  return [String(info?.['reason']).toLowerCase(), violation?.['field']]
}
