import type { Call } from '../core/call.ts'
import { countTexts } from '../core/count-texts.ts'
import { promptOf, type PromptText } from '../core/prompt.ts'
import type { Platform } from '../ports.ts'

/** A prompt, and how many tokens it has by our own count, made when first asked for. */
export interface CountedPrompt {
  readonly prompt: PromptText
  tokens(): Promise<number>
}

const counted = new WeakMap<Call, CountedPrompt>()

/** The prompt of a call. It is read and counted once, whoever asks. */
export function countedPrompt({ tokenizer }: Pick<Platform, 'tokenizer'>, call: Call): CountedPrompt {
  const known = counted.get(call)
  if (known) return known
  const prompt = promptOf(call)
  let counting: Promise<number> | undefined
  const count = async (): Promise<number> => {
    return prompt.fixedTokens + (await countTexts(tokenizer, prompt.texts))
  }
  const entry: CountedPrompt = { prompt, tokens: () => (counting ??= count()) }
  counted.set(call, entry)
  return entry
}
