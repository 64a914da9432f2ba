import type { Call, Target } from '../core/call.ts'
import type { Catalog, Model } from '../core/catalog.ts'
import type { PromptText } from '../core/prompt.ts'
import { targetName, type Wish } from '../core/routing.ts'

/** No tokenizer in use makes a token of more bytes than this on average: a prompt is surely longer than that. */
const mostBytesPerToken = 6

export interface Asked {
  readonly catalog: Catalog
  readonly model: Model
  readonly call: Call
  readonly wish: Wish
  /** Read when it is first asked for: a long prompt takes time. */
  prompt(): Pick<PromptText, 'upperBound'>
  /** The parameter that a target's vendor cannot serve; undefined where it takes them all. */
  refuses(target: Target): string | undefined
  /** Whether a target's vendor passes calls on to vendors of its own. */
  choosesVendors?(target: Target): boolean
}

/** Why a target is out of the question for a call, in a word or two; undefined where it is not. */
export function refusalOf(asked: Asked, target: Target): string | undefined {
  const { catalog, call, wish, prompt } = asked
  const entry = catalog.vendors.get(target.vendor)
  if (!entry || entry.apiKeys.length === 0) return 'vendor_off'
  if (wish.only.length > 0 && !isAmong(wish.only, target, asked)) return 'not_among_only'
  if (wish.ignore.some((name) => isNamed(target, name))) return 'ignored'
  if (wish.region !== undefined && wish.region !== target.region) return 'region'
  if (call.maxOutput !== undefined && call.maxOutput > (target.maxOutputTokens ?? Infinity)) return 'max_output'
  const { contextTokens } = target
  if (contextTokens !== undefined && prompt().upperBound > contextTokens * mostBytesPerToken) return 'context_length'
  return undefined
}

/** A name that nobody here has is one of a vendor's own vendors, where it has some. */
function isAmong(names: readonly string[], target: Target, { catalog, choosesVendors }: Asked): boolean {
  if (names.some((name) => isNamed(target, name))) return true
  return choosesVendors?.(target) === true && names.some((name) => !catalog.vendors.has(name.split('/')[0] ?? ''))
}

/** A vendor's name stands for all its targets, `vendor/model` for one of them, with or without its region. */
export function isNamed(target: Target, name: string): boolean {
  return name === target.vendor || name === `${target.vendor}/${target.model}` || name === targetName(target)
}
