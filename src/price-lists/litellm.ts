import type { Condition, Unit } from '../core/price.ts'
import { listNames } from '../vendors/list-names.ts'
import { isListObject, type ListJson, type ListObject } from './decimal.ts'
import { type Listed, tally, type Tally } from './listed.ts'

/** Fields of LiteLLM's price map that are prices of ours. Those that come first stand. */
const fields: Readonly<Record<string, Unit>> = {
  input_cost_per_token: 'input',
  output_cost_per_token: 'output',
  cache_read_input_token_cost: 'cached_input',
  cache_creation_input_token_cost: 'cache_write_5m',
  cache_creation_input_token_cost_above_1hr: 'cache_write_1h',
  output_cost_per_reasoning_token: 'reasoning',
  input_cost_per_audio_token: 'audio_input',
  output_cost_per_audio_token: 'audio_output',
  input_cost_per_image_token: 'image_input',
  output_cost_per_image_token: 'image_output',
  input_cost_per_character: 'character',
  input_cost_per_query: 'request',
  input_cost_per_request: 'request',
}
const services: Readonly<Record<string, string>> = { priority: 'priority', flex: 'flex', batches: 'batch' }
const suffix = /^(?<base>[a-z0-9_]+?)(?:_above_(?<border>\d{1,6})k_tokens)?(?:_(?<service>priority|flex|batches))?$/
const multiplierField = /^regional_processing_uplift_multiplier_(?<region>[a-z]{2})$/
/** An older name of the price of a cached token, beside which the newer one stands: never both. */
const olderCached = 'input_cost_per_token_cache_hit'
const aboutMoney = /cost|pric|multiplier/
/** Dollars per token. */
const scale = { mtok: 15, unit: 9 }

/** Reads one entry of LiteLLM's map. What it says of money and we have no unit for is noted. */
export function readLitellm(name: string, entry: ListObject): Listed {
  const into = tally(scale)
  const reachesAt = listNames.reachedAtBorder.includes(String(entry['litellm_provider']))
  for (const [field, value] of Object.entries(entry)) {
    if (!readPrice(into, field, { value, reachesAt }) && !readOther(into, field, { value, entry }))
      noteLeft(into, field, value)
  }
  if (entry['cache_read_input_token_cost'] === undefined) into.add({}, 'cached_input', entry[olderCached])
  readPieces(into, entry)
  return into.finish('litellm', name)
}

interface Field {
  readonly value: ListJson
  readonly reachesAt: boolean
}

function readPrice(into: Tally, field: string, { value, reachesAt }: Field): boolean {
  const plain = fields[field]
  if (plain !== undefined) {
    into.add({}, plain, value)
    return true
  }
  const { base = '', border, service } = suffix.exec(field)?.groups ?? {}
  const unit = fields[base]
  if (unit === undefined || (border === undefined && service === undefined)) return false
  const tokens = border === undefined ? undefined : +border * 1_000
  const name = service === undefined ? undefined : services[service]
  into.add(
    {
      ...(tokens !== undefined && { fromTokens: reachesAt ? tokens : tokens + 1 }),
      ...(name !== undefined && { service: name }),
    },
    unit,
    value,
  )
  return true
}

function readOther(into: Tally, field: string, { value, entry }: { value: ListJson; entry: ListObject }): boolean {
  const region = multiplierField.exec(field)?.groups?.['region']
  if (region !== undefined) into.multiply({ region }, value)
  else if (field === 'provider_specific_entry') readSpecific(into, value)
  else if (field === 'tiered_pricing') readTiers(into, value)
  else if (field === 'search_context_cost_per_query') readSearch(into, value, entry)
  else return field === olderCached || /^(?:in|out)put_cost_per_second$/.test(field)
  return true
}

/** Multipliers by what an answer says of where and how it was served. */
function readSpecific(into: Tally, value: ListJson): void {
  if (!isListObject(value)) return
  for (const [name, factor] of Object.entries(value)) {
    if (name === 'fast') into.multiply({ speed: name }, factor)
    else if (/^[a-z]{2}$/.test(name)) into.multiply({ region: name }, factor)
    else into.note(`provider_specific_entry.${name.slice(0, 40)}: unknown`)
  }
}

/** Tiers with from < prompt ≤ to: the one that holds the prompt prices the whole request, and the last one what is longer. */
function readTiers(into: Tally, value: ListJson): void {
  for (const tier of Array.isArray(value) ? (value as readonly ListJson[]) : []) {
    const range = isListObject(tier) ? tier['range'] : undefined
    const from = Array.isArray(range) ? Number((range as readonly ListJson[])[0]) : Number.NaN
    if (!isListObject(tier) || !Number.isSafeInteger(from) || from < 0) {
      into.note('tiered_pricing: a tier without a range')
      continue
    }
    const when: Condition = from === 0 ? {} : { fromTokens: from + 1 }
    for (const [field, price] of Object.entries(tier)) {
      const unit = fields[field]
      if (unit !== undefined) into.add(when, unit, price)
      else if (field !== 'range') noteLeft(into, `tiered_pricing.${field}`, price)
    }
  }
}

/** Searches have one price here: where it depends on how much is searched, nobody could say which one holds. */
function readSearch(into: Tally, value: ListJson, entry: ListObject): void {
  const prices = new Set(isListObject(value) ? Object.values(value) : [value])
  const [price] = prices
  if (prices.size === 1 && entry['web_search_billing_unit'] !== 'per_prompt') into.add({}, 'search', price)
  else into.note('search_context_cost_per_query: several prices')
}

/** Where a second of audio and a second of its text have one price, it is the same second. */
function readPieces(into: Tally, entry: ListObject): void {
  const { input_cost_per_second: heard, output_cost_per_second: spoken } = entry
  if (heard !== undefined && spoken !== undefined && heard !== spoken && Number(heard) > 0 && Number(spoken) > 0)
    into.note('input_cost_per_second, output_cost_per_second: two prices')
  else into.add({}, 'second', Number(heard) > 0 ? heard : spoken)
  if (entry['mode'] === 'image_generation')
    into.add({}, 'image', entry['output_cost_per_image'] ?? entry['input_cost_per_image'])
}

const readAsPieces = ['output_cost_per_image', 'input_cost_per_image']

function noteLeft(into: Tally, field: string, value: ListJson): void {
  if (!aboutMoney.test(field) || Number(value) === 0 || readAsPieces.includes(field)) return
  into.note(`${field.slice(0, 100)}: no unit of ours`)
}
