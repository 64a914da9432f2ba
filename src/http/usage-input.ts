import { z } from 'zod'
import { isTimeZone } from '../core/calendar.ts'
import { GatewayError } from '../core/errors.ts'
import type { UsageGroup } from '../db/usage.ts'
import { moment, page } from './input.ts'

/** What questions about usage have in common. */

const dayMs = 86_400_000
/** A year and a bit, so that this month can be put beside that of last year. */
const longestDays = 400
const defaultDays = 30
/** Names of models are the longest values, with each byte of theirs in a third more. */
const cursorLimit = 4_096

const zoneRule = 'must be the IANA name of a time zone, such as "Europe/Berlin"'

/** `group_by` takes these words, in any order, separated by commas. */
export function groupsOf<Group extends UsageGroup>(allowed: readonly Group[]) {
  const error = `must name some of ${allowed.join(', ')}, each once, separated by commas`
  const read = (text: string): readonly Group[] | undefined => {
    const names = text === '' ? [] : text.split(',')
    const found = names.flatMap((name) => allowed.find((group) => group === name) ?? [])
    return found.length === names.length && new Set(found).size === found.length ? found : undefined
  }
  return z
    .string({ error })
    .max(64, { error })
    .refine((text) => read(text) !== undefined, { error })
    .transform((text) => read(text) ?? [])
    .default([])
}

/** Fields of a question about a stretch of time. */
export const stretch = { from: moment.optional(), to: moment.optional() }

export const usagePage = {
  ...stretch,
  time_zone: z
    .string({ error: zoneRule })
    .max(64, { error: zoneRule })
    .refine(isTimeZone, { error: zoneRule })
    .default('UTC'),
  limit: page.limit,
  cursor: z.string().max(cursorLimit, { error: 'must be the next_cursor of another page' }).optional(),
}

export const publicKey = z.string().regex(/^[\w-]{1,64}$/, { error: 'must be the id of a key' })

export interface Stretch {
  readonly fromMs: number
  readonly toMs: number
}

/** Without `to` until now, without `from` thirty days. Throws `invalid_value` where it is empty or too long. */
export function stretchOf(
  { from, to }: { readonly from?: number | undefined; readonly to?: number | undefined },
  nowMs: number,
): Stretch {
  const toMs = to ?? nowMs
  const fromMs = from ?? Math.max(0, toMs - defaultDays * dayMs)
  if (fromMs >= toMs) throw new GatewayError('invalid_value', 'from must be before to.', { param: 'from' })
  if (toMs - fromMs > longestDays * dayMs)
    throw new GatewayError('invalid_value', `from and to may be at most ${longestDays} days apart.`, { param: 'from' })
  return { fromMs, toMs }
}

/** A row's place in its list as an opaque text. */
export function printPlace(values: readonly string[]): string {
  const bytes = new TextEncoder().encode(JSON.stringify(values))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

/** The place of a cursor in a list grouped like this. Throws `invalid_value` for a cursor of another list. */
export function readPlace(cursor: string | undefined, groups: readonly UsageGroup[]): readonly string[] | undefined {
  if (cursor === undefined) return undefined
  const values = decoded(cursor)
  const isPlace =
    Array.isArray(values) &&
    values.length === groups.length + 1 &&
    values.every((value) => typeof value === 'string' && !value.includes('\0')) &&
    groups.every((group, index) => group !== 'account' || /^\d{1,15}$/.test(String(values[index])))
  if (!isPlace)
    throw new GatewayError('invalid_value', 'cursor must be the next_cursor of another page.', { param: 'cursor' })
  return values as readonly string[]
}

function decoded(cursor: string): unknown {
  try {
    const text = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'))
    const bytes = Uint8Array.from(text, (letter) => letter.codePointAt(0) ?? 0)
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // Whatever is wrong with it, it is no cursor of ours.
    return undefined
  }
}
