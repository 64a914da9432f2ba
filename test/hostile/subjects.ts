import { embed } from '../support/operations.ts'
import { answerText, json, type Behaviour } from '../support/vendor.ts'

/** A path that takes JSON, and what is asked for there. */
export interface Subject {
  readonly dialect: string
  readonly path: string
  readonly model: string
  readonly body: Readonly<Record<string, unknown>>
  /** The model is in the path. */
  readonly isInPath?: true
  /** Names of fields that bound the output, and of the one that asks for several answers. */
  readonly bounds?: readonly string[]
  readonly count?: string
  /** Fields that must be there, and what they must not be. */
  readonly needs: Readonly<Record<string, readonly unknown[]>>
  readonly streams?: true
}

const messages = [{ role: 'user', content: 'hi' }]
const badMessages = [
  [],
  {},
  'hi',
  null,
  [null],
  ['hi'],
  [[]],
  [{ role: 'root', content: 'x' }],
  [{ role: '__proto__', content: 'x' }],
  [{ role: 'user', content: 5 }],
  [{ role: 'user', content: { a: 1 } }],
  Array.from({ length: 100_000 }, () => messages[0]),
]
export const subjects: readonly Subject[] = [
  {
    dialect: 'chat',
    path: '/v1/chat/completions',
    model: 'test-model',
    body: { messages },
    bounds: ['max_tokens', 'max_completion_tokens'],
    count: 'n',
    needs: { messages: badMessages },
    streams: true,
  },
  {
    dialect: 'completions',
    path: '/v1/completions',
    model: 'test-model',
    body: { prompt: 'hi' },
    bounds: ['max_tokens'],
    count: 'n',
    needs: { prompt: [[], {}, 5, [5.5], [null], [[]]] },
    streams: true,
  },
  {
    dialect: 'responses',
    path: '/v1/responses',
    model: 'plain-model',
    body: { input: 'hi' },
    bounds: ['max_output_tokens'],
    needs: { input: [5, {}, [null], ['hi'], [{ role: 'root', content: 'x' }], [{ role: 'user', content: 5 }]] },
    streams: true,
  },
  {
    dialect: 'messages',
    path: '/v1/messages',
    model: 'test-model',
    body: { max_tokens: 10, messages },
    bounds: ['max_tokens'],
    needs: { messages: badMessages },
    streams: true,
  },
  {
    dialect: 'generate',
    path: '/v1beta/models/MODEL:generateContent',
    model: 'test-model',
    body: { contents: [{ role: 'user', parts: [{ text: 'hi' }] }] },
    isInPath: true,
    needs: {
      contents: [5, 'hi', {}, [null], [{ parts: 5 }], [{ parts: [null] }], [{ role: 'root', parts: [{ text: 'x' }] }]],
    },
  },
  {
    dialect: 'embeddings',
    path: '/v1/embeddings',
    model: 'embed',
    body: { input: 'hi' },
    needs: { input: [undefined, null, '', [], {}, 5, [null], [''], [[]], [1.5], [-1]] },
  },
  {
    dialect: 'embed',
    path: '/v1beta/models/MODEL:embedContent',
    model: 'embed',
    body: { content: { parts: [{ text: 'hi' }] } },
    isInPath: true,
    needs: { content: [undefined, null, 5, [], {}, { parts: 5 }, { parts: [] }, { parts: [null] }] },
  },
  {
    dialect: 'moderations',
    path: '/v1/moderations',
    model: 'guard',
    body: { input: 'hi' },
    needs: { input: [undefined, null, 5, {}, [null], [5]] },
  },
  {
    dialect: 'rerank',
    path: '/v1/rerank',
    model: 'ranker',
    body: { query: 'hi', documents: ['a', 'b'] },
    needs: { query: [undefined, null, '', 5, {}], documents: [undefined, null, [], 'a', {}, [null], [5]] },
  },
  {
    dialect: 'images',
    path: '/v1/images/generations',
    model: 'painter',
    body: { prompt: 'a cat' },
    count: 'n',
    needs: { prompt: [undefined, null, '', 5, {}, []] },
  },
  {
    dialect: 'speech',
    path: '/v1/audio/speech',
    model: 'voice',
    body: { input: 'hi', voice: 'alloy' },
    needs: { input: [undefined, null, '', 5, {}, []] },
  },
]

/** A vendor that does what each path is there for. */
export const able: Behaviour = (call, response) => {
  if (call.path.endsWith('/embeddings')) return embed('float', { prompt_tokens: 1, total_tokens: 1 })(call, response)
  if (call.path.endsWith('/moderations'))
    return json(response, 200, { id: 'm', model: 'x', results: [{ flagged: false }] })
  if (call.path.endsWith('/rerank')) return json(response, 200, { results: [{ index: 0, relevance_score: 1 }] })
  if (call.path.includes('/images/')) return json(response, 200, { created: 1, data: [{ b64_json: 'AA==' }] })
  if (call.path.includes('/audio/t')) return json(response, 200, { text: 'Hi' })
  if (call.path.endsWith('/speech')) return void response.writeHead(200, { 'content-type': 'audio/mpeg' }).end('sound')
  return answerText('Hello', { prompt_tokens: 5, completion_tokens: 1 })(call, response)
}
