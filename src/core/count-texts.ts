/** Up to so many texts are counted each by itself: they may wait with those of other calls. */
const fewTexts = 32

interface Counter {
  count(text: string): Promise<number>
  countAll?(texts: readonly string[]): Promise<number>
}

/** Tokens of all texts together, each counted by itself. A prompt may have tens of thousands, and each has its cost. */
export async function countTexts(tokenizer: Counter, texts: readonly string[]): Promise<number> {
  if (texts.length > fewTexts && tokenizer.countAll) return tokenizer.countAll(texts)
  const counts = await Promise.all(texts.map((text) => tokenizer.count(text)))
  return counts.reduce((sum, tokens) => sum + tokens, 0)
}
