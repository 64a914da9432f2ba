import type { Hono } from 'hono'
import { z } from 'zod'
import { GatewayError } from '../core/errors.ts'
import { parseMoney, type Nanos } from '../core/money.ts'

/** What the admin API takes: small JSON bodies and few query parameters, both known field by field. */

/** A key with its longest lists fits many times over. */
const maxBodyBytes = 262_144
const maxToldFaults = 10

/** An object with known fields; others are refused by name. */
export function fields<Shape extends z.core.$ZodShape>(shape: Shape) {
  const known = Object.keys(shape).join(', ')
  return z.strictObject(shape, {
    error: ({ code }) =>
      code === 'unrecognized_keys' ? `is not known here; known are: ${known}` : 'must be a JSON object',
  })
}

/** One line of text that a person wrote. */
export function line(least: number, most: number) {
  const error = `must be a string of ${least} to ${most} characters without line breaks`
  return z
    .string({ error })
    .min(least, { error })
    .max(most, { error })
    .refine((text) => !/\p{Cc}/u.test(text) && text.isWellFormed(), { error })
}

/** Money as a decimal string: a JSON number has passed through a float on its way. */
export function money({ least, most }: { readonly least: string; readonly most: string }) {
  const error = `must be a decimal string from ${least} to ${most} with at most nine decimals, such as "12.50"`
  const [low = 0n, high = 0n] = [parseMoney(least), parseMoney(most)]
  const read = (text: string): Nanos | undefined => {
    const nanos = parseMoney(text)
    return nanos === undefined || nanos < low || nanos > high ? undefined : nanos
  }
  return z
    .string({ error })
    .refine((text) => read(text) !== undefined, { error })
    .transform((text) => read(text) ?? 0n)
}

/** Money's kind. `TOK` is what packages count in, and no money. */
export const currency = z.string().regex(/^(?!TOK)[A-Z]{3}$/, {
  error: 'must be a currency of three capital letters, such as USD',
})

/** The id of a call: a UUIDv7, in small letters whatever was sent. */
export const callId = z
  .string({ error: 'must be the id of a call: its x-request-id' })
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i, {
    error: 'must be the id of a call: its x-request-id',
  })
  .toLowerCase()

const momentRule = 'must be a moment with its offset, such as "2030-01-31T00:00:00Z", from 1970 to 9999'

/** A moment as milliseconds since 1970. */
export const moment = z.iso
  .datetime({ offset: true, error: momentRule })
  .transform((text) => Date.parse(text))
  .refine((ms) => ms >= 0, { error: momentRule })

/** The cursor of a list in the order of its rows' ids. */
export const idCursor = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, { error: 'must be the next_cursor of another page' })
  .transform(Number)
  .optional()

/** A page of a list: `limit` from 1 to 200, and the `next_cursor` of the page before. */
export const page = {
  limit: z
    .string()
    .regex(/^([1-9]\d?|1\d\d|200)$/, { error: 'must be a whole number from 1 to 200' })
    .transform(Number)
    .default(50),
  cursor: z.string().max(64, { error: 'must be the next_cursor of another page' }).optional(),
}

/** The JSON body of a request. Throws `request_too_large`, `invalid_json`, or `invalid_value` naming what is wrong. */
export async function readBody<Schema extends z.ZodType>(request: Request, schema: Schema): Promise<z.output<Schema>> {
  const text = await readText(request)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (error) {
    throw new GatewayError('invalid_json', 'The body must be a JSON object in UTF-8.', { cause: error })
  }
  return check(body, schema)
}

/** The query of a request, each parameter once. Throws `invalid_value` naming what is wrong. */
export function readQuery<Schema extends z.ZodType>(request: Request, schema: Schema): z.output<Schema> {
  const { searchParams } = new URL(request.url)
  for (const name of searchParams.keys()) {
    if (searchParams.getAll(name).length > 1) {
      throw new GatewayError('invalid_value', `${JSON.stringify(name)} is given twice.`, { param: name })
    }
  }
  return check(Object.fromEntries(searchParams), schema)
}

function check<Schema extends z.ZodType>(value: unknown, schema: Schema): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const faults = result.error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: [...issue.path, key], text: issue.message }))
      : [{ path: issue.path, text: issue.message }],
  )
  const told = faults.slice(0, maxToldFaults).map(({ path, text }) => `${printPath(path)} ${text}.`)
  const param = printPath(faults[0]?.path ?? [])
  throw new GatewayError('invalid_value', told.join(' '), param === 'The body' ? {} : { param })
}

function printPath(path: readonly PropertyKey[]): string {
  const parts = path.map((part, index) =>
    typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part)}`,
  )
  return parts.join('').slice(0, 128) || 'The body'
}

/** The body as text, read no further than the limit. */
async function readText(request: Request): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let bytes = 0
  try {
    for await (const chunk of request.body ?? []) {
      bytes += chunk.byteLength
      if (bytes > maxBodyBytes) {
        throw new GatewayError('request_too_large', `The body may have at most ${maxBodyBytes} bytes.`)
      }
      text += decoder.decode(chunk, { stream: true })
    }
    return text + decoder.decode()
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('invalid_json', 'The body must be a JSON object in UTF-8.', { cause: error })
  }
}

/** Answers every other method on a path with 405. Call it after the path's routes. */
export function refuseOthers(app: Hono, path: string, allowed: string): void {
  app.all(path, () => {
    throw new GatewayError('method_not_allowed', `This path takes ${allowed}.`)
  })
}
