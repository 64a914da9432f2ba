import type { JsonObject } from '../core/call.ts'
import { isObject, objectsOf } from '../core/wire.ts'
import type { Abilities } from './anthropic-models.ts'
import { ownThoughts } from './anthropic-turns.ts'
import { thoughtWish, type ThoughtWish } from './inner-prompt.ts'

/** The vendor thinks with no less than this. */
const minBudget = 1_024

/** Of the bound on output, in percent, what an effort may think with, for models that count. */
const shares: Readonly<Record<string, number>> = { minimal: 2, low: 10, medium: 30, high: 60, xhigh: 90, max: 95 }

const efforts: Readonly<Record<string, string>> = {
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'xhigh',
  max: 'max',
}

/** How a request asks for thinking, in the vendor's words. */
export interface Thinking {
  readonly thinking?: JsonObject
  readonly effort?: string
  readonly isOn: boolean
  /** The wish could not be met, and the request goes on without it. */
  readonly isDropped: boolean
}

export interface ThinkingFacts {
  readonly model: Abilities
  readonly maxTokens: number
  /** A tool is demanded, which the vendor refuses while thinking is on. */
  readonly isForced: boolean
}

const off: Thinking = { isOn: false, isDropped: false }
const dropped: Thinking = { isOn: false, isDropped: true }

/** What is asked of thinking, as far as this model and the rest of the request let it be. */
export function thinkingOf(inner: JsonObject, facts: ThinkingFacts): Thinking {
  const wish = thoughtWish(inner)
  const { model, isForced, maxTokens } = facts
  if (!wish) return { ...off, isOn: model.thinking === 'always' }
  if (wish.effort === 'none') return silenced(model)
  if (model.thinking === 'none') return dropped
  if (model.thinking === 'budget') return budgeted(inner, wish, { isForced, maxTokens })
  // The caller has asked for the tool in so many words.
  if (isForced && model.thinking === 'adaptive') return { ...dropped, thinking: { type: 'disabled' } }
  const hidden = isObject(inner['reasoning']) && inner['reasoning']['exclude'] === true
  const display = model.hidesThoughts ? { display: hidden ? 'omitted' : 'summarized' } : {}
  return { thinking: { type: 'adaptive', ...display }, effort: effortOf(wish, facts), isOn: true, isDropped: false }
}

function silenced({ thinking }: Abilities): Thinking {
  // What cannot be turned off is turned down.
  if (thinking === 'always') return { effort: 'low', isOn: true, isDropped: false }
  return thinking === 'adaptive' ? { ...off, thinking: { type: 'disabled' } } : off
}

function effortOf({ effort = '', budget }: ThoughtWish, { model }: ThinkingFacts): string {
  if (Object.hasOwn(efforts, effort)) {
    const word = efforts[effort] ?? 'high'
    return word === 'xhigh' && !model.hasXhigh ? 'high' : word
  }
  // Those who think without counting get the effort that would be given about as much.
  const percent = ((budget ?? 0) / model.maxOutput) * 100
  return percent <= 10 ? 'low' : percent <= 30 ? 'medium' : 'high'
}

function budgeted(
  inner: JsonObject,
  { effort = '', budget }: ThoughtWish,
  { isForced, maxTokens }: Pick<ThinkingFacts, 'isForced' | 'maxTokens'>,
): Thinking {
  const share = Object.hasOwn(shares, effort) ? (shares[effort] ?? 30) : 30
  const wanted = budget ?? Math.floor((maxTokens * share) / 100)
  const most = Math.min(Math.max(wanted, minBudget), maxTokens - 1)
  if (isForced || most < minBudget || !mayThinkOn(inner)) return dropped
  return { thinking: { type: 'enabled', budget_tokens: most }, isOn: true, isDropped: false }
}

/**
 * These models want the turn that goes on to have begun with thinking. Where it did not, because another vendor has
 * begun it or the caller has not kept the thinking, it goes on without.
 */
function mayThinkOn(inner: JsonObject): boolean {
  const messages = objectsOf(inner['messages'])
  const turn = messages.slice(messages.findLastIndex(({ role }) => role === 'user') + 1)
  const first = turn.find(({ role }) => role === 'assistant')
  return !first || ownThoughts(first).length > 0
}
