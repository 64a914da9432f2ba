import type { JsonObject } from '../core/call.ts'
import type { ModelPages, OfferedModel } from './front.ts'

/** Anthropic's list of models: https://docs.anthropic.com/en/api/models-list. All of them are on its first page. */
export const models: ModelPages = {
  path: '/v1/models',
  // OpenAI has the same path; each of Anthropic's requests names the version of its API.
  isAsked: (header) => header('anthropic-version') !== undefined,
  list: (all) => ({
    data: all.map(one),
    has_more: false,
    first_id: all[0]?.name ?? null,
    last_id: all.at(-1)?.name ?? null,
  }),
  one,
}

function one({ name, createdAtMs, maxOutputTokens }: OfferedModel): JsonObject {
  const created = new Date(createdAtMs).toISOString()
  return { type: 'model', id: name, display_name: name, created_at: created, max_tokens: maxOutputTokens }
}
