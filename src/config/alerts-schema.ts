import { z } from 'zod'
import { section } from './fields.ts'

/** Where an operator hears of what he has to mend, as people write it. */

const urlRule = 'must be http:// or https:// with a host, without user and fragment'
/** An address that we post to; empty: none. Its query may hold a token, so no fault shows it. */
export const postUrl = z
  .string({ error: urlRule })
  .max(2_048, { error: 'must have at most 2048 characters' })
  .refine((text) => text === '' || isPostUrl(text), { error: urlRule })

function isPostUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return false
  return url.username === '' && url.password === '' && !text.includes('#')
}

const authorizationRule = 'must be the value of an authorization header: printable ASCII, at most 4096 characters'
/** Such as `Bearer …`; empty: none. */
export const authorization = z
  .string({ error: authorizationRule })
  .regex(/^[\x20-\x7e]{0,4096}$/, { error: authorizationRule })

export const alerts = section({
  webhook: section({
    url: postUrl.describe('Gets a POST with JSON for every alert; empty: none does'),
    authorization: authorization.optional().describe('The authorization header of these posts'),
  }).optional(),
})

export interface AlertConfig {
  readonly url: string
  readonly authorization?: string
}

export function buildAlerts({ webhook }: z.output<typeof alerts>): { readonly alerts?: AlertConfig } {
  if (!webhook || webhook.url === '') return {}
  const { url, authorization: given = '' } = webhook
  return { alerts: { url, ...(given !== '' && { authorization: given }) } }
}
