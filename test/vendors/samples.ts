import { readFileSync } from 'node:fs'
import { eventFrame } from './frames.ts'

/** One small, whole answer of each kind of wire, as it comes over the socket. */
export interface Sample {
  readonly name: string
  readonly adapter: string
  /** What its own callers speak, where there are any. */
  readonly dialect: 'chat' | 'messages' | 'generate' | 'responses' | undefined
  readonly contentType: string
  readonly bytes: Uint8Array
}

const encoder = new TextEncoder()
const sse = 'text/event-stream'

function file(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/${path}`, import.meta.url)))
}

const fromFile = (adapter: string, dialect: Sample['dialect'], path: string): Sample => ({
  name: path,
  adapter,
  dialect,
  contentType: sse,
  bytes: file(path),
})

const framed = (payloads: readonly object[], name?: string): Uint8Array =>
  encoder.encode(
    payloads
      .map((payload) => `${name === undefined ? '' : `event: ${name}\n`}data: ${JSON.stringify(payload)}\n\n`)
      .join(''),
  )

const converse = [
  eventFrame('messageStart', { role: 'assistant' }),
  eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { reasoningContent: { text: 'Hm.' } } }),
  eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { reasoningContent: { signature: 'c2ln' } } }),
  eventFrame('contentBlockStop', { contentBlockIndex: 0 }),
  eventFrame('contentBlockDelta', { contentBlockIndex: 1, delta: { text: 'I look.' } }),
  eventFrame('contentBlockStart', { contentBlockIndex: 2, start: { toolUse: { toolUseId: 't1', name: 'weather' } } }),
  eventFrame('contentBlockDelta', { contentBlockIndex: 2, delta: { toolUse: { input: '{"city":"Paris"}' } } }),
  eventFrame('messageStop', { stopReason: 'tool_use' }),
  eventFrame('metadata', {
    usage: {
      inputTokens: 10,
      outputTokens: 5,
      totalTokens: 15,
      cacheReadInputTokens: 1,
      cacheDetails: [{ ttl: '1h', inputTokens: 1 }],
    },
    metrics: { latencyMs: 1 },
  }),
]

const cohere = [
  { type: 'message-start', id: 'm1', delta: { message: { role: 'assistant', content: [], tool_calls: [] } } },
  { type: 'tool-plan-delta', delta: { message: { tool_plan: 'I look.' } } },
  {
    type: 'tool-call-start',
    index: 0,
    delta: { message: { tool_calls: { id: 'a', type: 'function', function: { name: 'weather', arguments: '' } } } },
  },
  { type: 'tool-call-delta', index: 0, delta: { message: { tool_calls: { function: { arguments: '{}' } } } } },
  { type: 'tool-call-end', index: 0 },
  { type: 'content-start', index: 0, delta: { message: { content: { type: 'text', text: '' } } } },
  { type: 'content-delta', index: 0, delta: { message: { content: { text: 'Rain.' } } } },
  {
    type: 'citation-start',
    index: 0,
    delta: {
      message: {
        citations: {
          start: 0,
          end: 4,
          text: 'Rain',
          sources: [{ type: 'document', id: 'd', document: { url: 'https://d.test', title: 'D' } }],
        },
      },
    },
  },
  { type: 'content-end', index: 0 },
  {
    type: 'message-end',
    delta: {
      finish_reason: 'COMPLETE',
      usage: {
        billed_units: { input_tokens: 1, output_tokens: 2 },
        tokens: { input_tokens: 9, output_tokens: 2 },
        cached_tokens: 1,
      },
    },
  },
]

const dashscope = [
  {
    output: {
      choices: [
        {
          message: { role: 'assistant', content: [{ text: 'I look.' }], reasoning_content: 'Hm.' },
          finish_reason: 'null',
        },
      ],
    },
    usage: { input_tokens: 9, output_tokens: 1, total_tokens: 10 },
    request_id: 'r',
  },
  {
    output: {
      choices: [
        {
          message: {
            role: 'assistant',
            content: '',
            tool_calls: [{ index: 0, id: 'c', type: 'function', function: { name: 'weather', arguments: '{}' } }],
          },
          finish_reason: 'tool_calls',
        },
      ],
    },
    usage: {
      input_tokens: 9,
      output_tokens: 5,
      total_tokens: 14,
      output_tokens_details: { reasoning_tokens: 1 },
      prompt_tokens_details: { cached_tokens: 2 },
      plugins: { search: { count: 1 } },
    },
    request_id: 'r',
  },
]

const ollama = [
  {
    model: 'm',
    created_at: '2030-01-01T00:00:00Z',
    message: { role: 'assistant', content: '', thinking: 'Hm.' },
    done: false,
  },
  {
    model: 'm',
    created_at: '2030-01-01T00:00:00Z',
    message: {
      role: 'assistant',
      content: 'I look.',
      tool_calls: [{ id: 'c', function: { index: 0, name: 'weather', arguments: { city: 'Paris' } } }],
    },
    done: false,
  },
  {
    model: 'm',
    created_at: '2030-01-01T00:00:00Z',
    message: { role: 'assistant', content: '' },
    done: true,
    done_reason: 'stop',
    total_duration: 5,
    prompt_eval_count: 9,
    eval_count: 4,
  },
]

const dify = [
  { event: 'message', task_id: 't', message_id: 'm', conversation_id: 'c', answer: 'I look.', created_at: 1 },
  {
    event: 'message_end',
    task_id: 't',
    message_id: 'm',
    conversation_id: 'c',
    metadata: {
      usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11, total_price: '0.001', currency: 'USD' },
      retriever_resources: [],
    },
  },
]

const completions = [
  {
    id: 'c',
    object: 'text_completion',
    created: 1,
    model: 'm',
    choices: [{ index: 0, text: 'I look.', logprobs: null, finish_reason: null }],
  },
  {
    id: 'c',
    object: 'text_completion',
    created: 1,
    model: 'm',
    choices: [{ index: 0, text: '', logprobs: null, finish_reason: 'stop' }],
    usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
  },
]

export const samples: readonly Sample[] = [
  fromFile('groq', 'chat', 'chat/tools-reused-index.sse'),
  fromFile('openai', 'chat', 'chat/two-choices.sse'),
  fromFile('openrouter', 'chat', 'chat/error-midway.sse'),
  fromFile('moonshot', 'chat', 'chat/cumulative-usage.sse'),
  fromFile('openai', 'chat', 'recorded/openai/chat-stream-crlf-comments.response.sse'),
  fromFile('deepseek', 'chat', 'recorded/deepseek/chat-stream-reasoning-usage-with-finish.response.sse'),
  fromFile('qwen', 'chat', 'recorded/qwen/chat-stream-tool-arguments-in-pieces.response.sse'),
  fromFile('doubao', 'chat', 'recorded/doubao/chat-stream-no-usage-no-closing-event.response.sse'),
  fromFile('anthropic', 'messages', 'anthropic/thinking-tools.sse'),
  fromFile('anthropic', 'messages', 'anthropic/overloaded-midway.sse'),
  fromFile('gemini', 'generate', 'gemini/thoughts-and-tools.sse'),
  fromFile('gemini', 'generate', 'gemini/grounded.sse'),
  fromFile('vertex', 'generate', 'gemini/vertex-traffic.sse'),
  fromFile('openai-responses', 'responses', 'responses/thought-search-tools.sse'),
  fromFile('openai-responses', 'responses', 'responses/error-midway.sse'),
  {
    name: 'converse',
    adapter: 'bedrock',
    dialect: undefined,
    contentType: 'application/vnd.amazon.eventstream',
    bytes: new Uint8Array(Buffer.concat(converse)),
  },
  { name: 'cohere', adapter: 'cohere', dialect: undefined, contentType: sse, bytes: framed(cohere) },
  { name: 'dashscope', adapter: 'dashscope', dialect: undefined, contentType: sse, bytes: framed(dashscope, 'result') },
  {
    name: 'ollama',
    adapter: 'ollama-native',
    dialect: undefined,
    contentType: 'application/x-ndjson',
    bytes: encoder.encode(ollama.map((line) => `${JSON.stringify(line)}\n`).join('')),
  },
  { name: 'dify', adapter: 'dify', dialect: undefined, contentType: sse, bytes: framed(dify) },
  {
    name: 'completions',
    adapter: 'openai-completions',
    dialect: undefined,
    contentType: sse,
    bytes: framed(completions),
  },
]
