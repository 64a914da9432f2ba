import { z } from 'zod'
import type { KeySealing, Unwrap } from '../core/key-sealing.ts'
import { authorization, postUrl } from './alerts-schema.ts'
import { section, text } from './fields.ts'

/**
 * How what vendors' keys are encrypted with comes out of a service that keeps it, as people write it. What lies here is
 * wrapped: only that service can make it plain.
 */

const maxArguments = 64
const commandRule = `must be a program and its arguments, at most ${maxArguments} of them`
const wrapped = text(/^[\x21-\x7e]{1,16384}$/, 'must be the wrapped key: printable ASCII without spaces')

export const vendorKeySealing = section({
  unwrap: section({
    command: z
      .array(text(/^[^\0]{0,4096}$/, commandRule), { error: commandRule })
      .min(1, { error: commandRule })
      .max(maxArguments, { error: commandRule })
      .optional()
      .describe('A program and its arguments. It reads the wrapped key and writes the plain one'),
    url: postUrl
      .optional()
      .describe('In its place, an address: it is posted the wrapped key and answers with the plain one'),
    authorization: authorization.optional().describe('The authorization header of these posts'),
    wrapped: wrapped.describe('The key that vendor keys are encrypted with, as the service has wrapped it'),
    previous: wrapped.optional().describe('The one before it, which still opens what it has encrypted'),
  })
    .refine(({ command, url = '' }) => (command === undefined) !== (url === ''), {
      error: 'must have either command or url',
    })
    .optional(),
})

export function buildSealing({ unwrap }: z.output<typeof vendorKeySealing>): { readonly keySealing?: KeySealing } {
  if (!unwrap) return {}
  const { command, url = '', authorization: given = '', wrapped: newest, previous } = unwrap
  const how: Unwrap = command
    ? { kind: 'command', command }
    : { kind: 'url', url, ...(given !== '' && { authorization: given }) }
  return { keySealing: { unwrap: how, wrapped: [newest, ...(previous === undefined ? [] : [previous])] } }
}
