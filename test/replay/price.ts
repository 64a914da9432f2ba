import type { Entry, Metering } from './manifest.ts'

/**
 * What every model costs here, in nano-USD per million tokens. All differ and none divides evenly, so that a token
 * that is counted in the wrong unit, or a charge that is rounded in another way, shows.
 */
const prices = {
  input: 3_000_000_701n,
  cached_input: 300_000_301n,
  cache_write_5m: 3_750_001_103n,
  output: 15_000_001_301n,
  reasoning: 17_000_001_901n,
  audio_input: 41_000_002_303n,
  audio_output: 83_000_002_909n,
} as const

type Unit = keyof typeof prices
/** How many of each; no token is in two units. */
export type Tokens = Readonly<Record<Unit, number>>

/** The prices as a configuration has them: USD per million tokens, as text. */
export function priceList(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(prices).map(([unit, nanos]) => {
      const digits = nanos.toString().padStart(10, '0')
      return [unit, `${digits.slice(0, -9)}.${digits.slice(-9)}`]
    }),
  )
}

/**
 * What a vendor's metering has of each unit. Audio is not in a manifest's metering, so it comes from the usage; where a
 * vendor tells more audio than there is left in the total, the total stands.
 */
export function tokensOf(metering: Metering, usage: Entry['usage']): Tokens {
  const freshInput = metering.input - metering.cache_read - metering.cache_write
  const answer = metering.output - metering.reasoning
  const audioIn = Math.min(freshInput, detail(usage, 'prompt_tokens_details', 'audio_tokens'))
  const audioOut = Math.min(answer, detail(usage, 'completion_tokens_details', 'audio_tokens'))
  return {
    input: freshInput - audioIn,
    cached_input: metering.cache_read,
    cache_write_5m: metering.cache_write,
    output: answer - audioOut,
    reasoning: metering.reasoning,
    audio_input: audioIn,
    audio_output: audioOut,
  }
}

function detail(usage: Entry['usage'], group: string, name: string): number {
  const details = usage?.[group]
  if (typeof details !== 'object' || details === null) return 0
  const value = (details as Readonly<Record<string, unknown>>)[name]
  return typeof value === 'number' ? value : 0
}

/** In nano-USD, rounded up once. */
export function priceOf(tokens: Tokens): bigint {
  let total = 0n
  for (const [unit, count] of Object.entries(tokens)) total += BigInt(count) * prices[unit as Unit]
  const millions = total / 1_000_000n
  return total % 1_000_000n === 0n ? millions : millions + 1n
}
