import type { JsonObject } from '../core/call.ts'
import type { ModelPages, OfferedModel } from './front.ts'

/** Google's list of models: https://ai.google.dev/api/models. All of them are on its first page. */
export const models: ModelPages = {
  path: '/v1beta/models',
  list: (all) => ({ models: all.map(one) }),
  one,
}

function one({ name, maxOutputTokens }: OfferedModel): JsonObject {
  return {
    name: `models/${name}`,
    displayName: name,
    outputTokenLimit: maxOutputTokens,
    supportedGenerationMethods: ['generateContent', 'countTokens'],
  }
}
