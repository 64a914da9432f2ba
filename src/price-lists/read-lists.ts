import { isListObject, type ListObject, parseList } from './decimal.ts'
import type { List, Listed } from './listed.ts'
import { readLitellm } from './litellm.ts'
import { readModelsDev } from './models-dev.ts'

/** More than any list has. */
const maxModels = 50_000
/** Entries of LiteLLM's map that are no models. */
const noModels = ['sample_spec', 'fallback_generalizations']

/** One price list: who made it, and its models by name (`provider/model` in models.dev). */
export interface PriceList {
  readonly list: List
  readonly models: ReadonlyMap<string, ListObject>
}

/** Reads a file of either list. Throws Error with what is wrong where it is neither. */
export function readList(text: string): PriceList {
  const all = parseList(text)
  if (!isListObject(all)) throw new Error('is no map of models')
  const providers = isListObject(all['providers']) ? all['providers'] : all
  const found = Object.values(providers).some((one) => isListObject(one) && isListObject(one['models']))
    ? modelsDev(providers)
    : litellm(all)
  if (found.models.size === 0) throw new Error('is neither a price map of LiteLLM nor one of models.dev')
  if (found.models.size > maxModels) throw new Error(`has more than ${maxModels} models`)
  return found
}

function litellm(all: ListObject): PriceList {
  const models = Object.entries(all).filter(([name, entry]) => {
    return !noModels.includes(name) && isListObject(entry) && entry['litellm_provider'] !== undefined
  })
  return { list: 'litellm', models: new Map(models as [string, ListObject][]) }
}

function modelsDev(providers: ListObject): PriceList {
  const models = Object.entries(providers).flatMap(([provider, one]) => {
    const listed = isListObject(one) ? one['models'] : undefined
    return Object.entries(isListObject(listed) ? listed : {}).flatMap(([name, entry]): [string, ListObject][] =>
      isListObject(entry) ? [[`${provider}/${name}`, entry]] : [],
    )
  })
  return { list: 'models.dev', models: new Map(models) }
}

/** How a model may be called in the lists; `key` is what the one who asks has named. */
export interface ListKey {
  readonly key?: string
  readonly litellm?: string
  readonly modelsDev?: string
  /** The vendor's own name of the model. */
  readonly model: string
}

/** What a list says of a model; undefined where it does not have it. */
export function findListed({ list, models }: PriceList, { key, model, ...providers }: ListKey): Listed | undefined {
  const provider = list === 'litellm' ? providers.litellm : providers.modelsDev
  const names = key !== undefined ? [key] : provider === undefined ? [] : [`${provider}/${model}`, model]
  for (const name of names) {
    const entry = models.get(name)
    // A bare name may be that of another vendor's model.
    if (!entry || (key === undefined && name === model && entry['litellm_provider'] !== provider)) continue
    return list === 'litellm' ? readLitellm(name, entry) : readModelsDev(name, entry)
  }
  return undefined
}
