import type { Condition, Unit } from '../core/price.ts'
import { isListObject, type ListJson, type ListObject } from './decimal.ts'
import { type Listed, tally, type Tally } from './listed.ts'

/** Names of models.dev's prices. */
const fields: Readonly<Record<string, Unit>> = {
  input: 'input',
  output: 'output',
  cache_read: 'cached_input',
  cache_write: 'cache_write_5m',
  reasoning: 'reasoning',
  input_audio: 'audio_input',
  output_audio: 'audio_output',
  request: 'request',
}
/** An older form of a tier, for prompts of more than 200,000 tokens. */
const olderTier = 'context_over_200k'
const olderBorder = 200_000
/** Dollars per million tokens. */
const scale = { mtok: 9, unit: 9 }

/** Reads one model of models.dev; `name` is provider/model. */
export function readModelsDev(name: string, entry: ListObject): Listed {
  const into = tally(scale)
  const { cost, experimental } = entry
  if (isListObject(cost)) readCost(into, {}, cost)
  const modes = isListObject(experimental) ? experimental['modes'] : undefined
  for (const [mode, one] of Object.entries(isListObject(modes) ? modes : {}))
    if (isListObject(one)) readMode(into, mode, one)
  return into.finish('models.dev', name)
}

function readCost(into: Tally, when: Condition, cost: ListObject): void {
  for (const [field, value] of Object.entries(cost)) {
    const unit = fields[field]
    if (unit !== undefined) into.add(when, unit, value)
    else if (field === olderTier && isListObject(value)) readCost(into, { ...when, fromTokens: olderBorder + 1 }, value)
    else if (field === 'tiers' && Array.isArray(value))
      for (const tier of value as readonly ListJson[]) readTier(into, when, tier)
    else if (field !== 'tier') into.note(`cost.${field.slice(0, 100)}: no unit of ours`)
  }
}

function readTier(into: Tally, when: Condition, tier: ListJson): void {
  const border = isListObject(tier) ? tier['tier'] : undefined
  const { size, type = 'context' } = isListObject(border) ? border : {}
  const tokens = Number(size)
  if (!isListObject(tier) || type !== 'context' || !Number.isSafeInteger(tokens) || tokens < 1)
    return into.note('cost.tiers: a tier that is not by the length of the prompt')
  readCost(into, { ...when, fromTokens: tokens + 1 }, tier)
}

/** A mode that is asked for by a service tier is one. */
function readMode(into: Tally, mode: string, { cost, provider }: ListObject): void {
  const body = isListObject(provider) ? provider['body'] : undefined
  const service = isListObject(body) ? body['service_tier'] : undefined
  if (isListObject(cost) && typeof service === 'string') readCost(into, { service }, cost)
  else if (isListObject(cost)) into.note(`experimental.modes.${mode.slice(0, 100)}: not by a service tier`)
}
