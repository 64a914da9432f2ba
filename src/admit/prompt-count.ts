import type { Call } from '../core/call.ts'
import { countTexts } from '../core/count-texts.ts'
import { onceFor } from '../core/once-for.ts'
import { promptOf, type PromptText } from '../core/prompt.ts'
import type { Platform } from '../ports.ts'

/** A prompt, and how many tokens it has by our own count, made when first asked for. */
export interface CountedPrompt {
  readonly prompt: PromptText
  tokens(): Promise<number>
}

interface Counting {
  readonly prompt: PromptText
  tokens: Promise<number> | undefined
}

const countingOf = onceFor((call: Call): Counting => ({ prompt: promptOf(call), tokens: undefined }))

/** The prompt of a call. It is read and counted once, whoever asks. */
export function countedPrompt({ tokenizer }: Pick<Platform, 'tokenizer'>, call: Call): CountedPrompt {
  const counting = countingOf(call)
  const { prompt } = counting
  return { prompt, tokens: () => (counting.tokens ??= countPrompt(tokenizer, prompt)) }
}

async function countPrompt(tokenizer: Platform['tokenizer'], { fixedTokens, texts }: PromptText): Promise<number> {
  return fixedTokens + (await countTexts(tokenizer, texts))
}
