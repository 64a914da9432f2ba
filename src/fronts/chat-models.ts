import type { JsonObject } from '../core/call.ts'
import type { ModelPages, OfferedModel } from './front.ts'

/** OpenAI's list of models. */
export const models: ModelPages = {
  path: '/v1/models',
  list: (all) => ({ object: 'list', data: all.map(one) }),
  one,
}

function one({ name, vendor, createdAtMs }: OfferedModel): JsonObject {
  return { id: name, object: 'model', created: Math.floor(createdAtMs / 1000), owned_by: vendor }
}
