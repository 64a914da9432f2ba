import { parameters as anthropic } from './anthropic-request.ts'
import { parameters as bedrock } from './bedrock-request.ts'
import { parameters as cohere } from './cohere.ts'
import { compatible } from './compatible.ts'
import { parameters as dashscope } from './dashscope.ts'
import { parameters as dify } from './dify.ts'
import { geminiParameters } from './gemini-request.ts'
import { parameters as ollama } from './ollama.ts'
import { openaiParameters } from './openai-inner.ts'
import { responsesParameters } from './openai-responses-request.ts'
import type { ParameterTable, ParameterUse } from './parameters.ts'
import type { Quirks } from './quirks.ts'

/** What a compatible vendor makes of each parameter for callers of other dialects. */
function compatibleTable({ parameters, renames, outputLimit, reasoning }: Quirks): ParameterTable {
  const use: ParameterUse = reasoning ? 'translate' : 'drop'
  return {
    ...openaiParameters,
    // The older names of tools are only said by callers whose bytes pass.
    functions: 'pass',
    function_call: 'pass',
    [outputLimit ? 'max_tokens' : 'max_completion_tokens']: 'translate',
    ...parameters,
    reasoning_effort: use,
    reasoning: use,
    ...Object.fromEntries(Object.keys(renames ?? {}).map((name) => [name, 'translate' as const])),
  }
}

/** Every adapter's table, by its id: the page of vendors is made of them. */
export const parameterTables: ReadonlyMap<string, ParameterTable> = new Map<string, ParameterTable>([
  ...compatible.map((quirks) => [quirks.id, compatibleTable(quirks)] as const),
  ['anthropic', anthropic],
  ['bedrock', bedrock],
  ['bedrock-invoke', anthropic],
  ['cohere', cohere],
  ['dashscope', dashscope],
  ['dify', dify],
  ['gemini', geminiParameters],
  ['ollama-native', ollama],
  ['openai-responses', responsesParameters],
  ['vertex', geminiParameters],
])
