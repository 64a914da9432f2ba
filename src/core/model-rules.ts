import type { Policies } from './catalog.ts'

/** What a model may be called and hold: the same in the configuration file and in the admin API. */

/** The public name, exactly as callers write it. */
export const modelName = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$/,
  rule: 'letters, digits and . _ : / @ + -, at most 128',
}
export const vendorModelName = {
  pattern: /^[\x21-\x7e]{1,256}$/,
  error: "must be the vendor's own name of the model: at most 256 characters without spaces",
}
export const region = {
  pattern: /^[A-Za-z0-9_-]{1,64}$/,
  error: 'must be letters, digits, "-" or "_", at most 64',
}
/** Of the file, or of the API beside it. */
export const maxModels = 10_000
export const maxTargets = 32
export const outputTokens = { most: 10_000_000, fallback: 16_384 }
/** Six digits before the point: with nine behind it, a number of YAML still holds every digit exactly. */
export const maxAmount = '999999'
export const policyWords = {
  unstreamed: ['auto', 'whole', 'gathered'],
  clientAbort: ['cancel', 'drain', 'void'],
  abortBeforeContent: ['free', 'prompt'],
} as const satisfies { readonly [Name in keyof Policies]: readonly Policies[Name][] }
