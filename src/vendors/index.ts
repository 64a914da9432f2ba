import { openaiCompatible } from './openai.ts'
import { sandbox } from './sandbox.ts'
import type { Vendor } from './vendor.ts'

const openai = openaiCompatible({ id: 'openai' })

/** https://api-docs.deepseek.com: finish reasons and error codes. Money is 402, which needs no rule. */
const deepseek = openaiCompatible({
  id: 'deepseek',
  failedFinishes: ['insufficient_system_resource'],
  troubles: [
    { status: 400, message: /^content exists risk/i, trouble: 'policy' },
    { status: 400, message: /^model not exist/i, trouble: 'model' },
  ],
})

/** Alibaba's DashScope in compatible mode, as documented at https://help.aliyun.com/zh/model-studio/error-code. */
const qwen = openaiCompatible({
  id: 'qwen',
  troubles: [
    {
      code: /^(arrearage|invalidapikey|accessdenied|commoditynotpurchased|prepaidbilloverdue|postpaidbilloverdue)/i,
      trouble: 'account',
    },
    { code: /^data_?inspection_?failed/i, trouble: 'policy' },
    { code: /^model(\.|_?not_?(found|exist))/i, trouble: 'model' },
    { code: /^throttling/i, trouble: 'busy' },
    { status: 400, message: /range of input length should be/i, trouble: 'context' },
  ],
  // Thinking is refused unless streamed, and these families answer in streams only.
  streamOnly: (body, model) => body['enable_thinking'] === true || /^(qwq|qvq|qwen[\d.]*-omni)/.test(model),
})

/** Volcengine's Ark, as in its SDK: business codes are more telling than statuses. */
const doubao = openaiCompatible({
  id: 'doubao',
  troubles: [
    { code: /^(accountoverdue|authenticationerror|accessdenied|operationdenied\.serviceoverdue)/i, trouble: 'account' },
    { code: /^(modelnotopen|invalidendpointormodel|operationdenied\.servicenotopen)/i, trouble: 'model' },
    { code: /^(input|output)?(text|image|video|audio)?sensitivecontentdetected/i, trouble: 'policy' },
    { code: /^(ratelimitexceeded|quotaexceeded|serveroverloaded|requestbursttoofast)/i, trouble: 'busy' },
    { status: 400, message: /exceed(s|ed)? .{0,40}(max|context).{0,40}(length|tokens)/i, trouble: 'context' },
  ],
})

/** Every adapter by its id. A new OpenAI-compatible vendor is one entry. */
export const vendors: ReadonlyMap<string, Vendor> = new Map(
  [openai, deepseek, qwen, doubao, sandbox].map((vendor) => [vendor.id, vendor]),
)
