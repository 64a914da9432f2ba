import type { Entry, Metering } from './manifest.ts'

/**
 * What every model costs here, in nano-USD per million tokens or per search. All differ and none divides evenly, so that a token
 * that is counted in the wrong unit, or a charge that is rounded in another way, shows.
 */
const prices = {
  input: 3_000_000_701n,
  cached_input: 300_000_301n,
  cache_write_5m: 3_750_001_103n,
  cache_write_1h: 6_000_001_007n,
  output: 15_000_001_301n,
  reasoning: 17_000_001_901n,
  audio_input: 41_000_002_303n,
  audio_output: 83_000_002_909n,
  advisor_input: 5_000_004_001n,
  advisor_cached_input: 500_000_509n,
  advisor_output: 25_000_004_507n,
  /** For one of them. */
  search: 10_000_019n,
} as const

/** The same for what is no conversation: tokens by the million, the others for one of them. */
const morePrices = {
  image_input: 7_000_003_109n,
  image_output: 31_000_003_307n,
  image: 40_000_037n,
  second: 100_003n,
  character: 15_013n,
} as const
const tokenUnits: ReadonlySet<string> = new Set(['image_input', 'image_output'])

type Unit = keyof typeof prices
type AdvisorUnit = 'advisor_input' | 'advisor_cached_input' | 'advisor_output'
/** How many of each; no token is in two units. Not every manifest tells the searches, and few calls ask an advisor. */
export type Tokens = Readonly<Record<Exclude<Unit, 'search' | AdvisorUnit>, number>> &
  Readonly<Partial<Record<'search' | AdvisorUnit, number>>>

/** The prices as a configuration has them: USD per million tokens, as text. */
export function priceList(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries({ ...prices, ...morePrices }).map(([unit, nanos]) => {
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
  const writtenLong = metering.cache_write_1h ?? 0
  const audioIn = Math.min(
    freshInput,
    detail(usage, 'prompt_tokens_details', 'audio_tokens') + modality(usage, 'promptTokensDetails'),
  )
  const audioOut = Math.min(
    answer,
    detail(usage, 'completion_tokens_details', 'audio_tokens') + modality(usage, 'candidatesTokensDetails'),
  )
  return {
    input: freshInput - audioIn,
    cached_input: metering.cache_read,
    cache_write_5m: metering.cache_write - writtenLong,
    cache_write_1h: writtenLong,
    output: answer - audioOut,
    reasoning: metering.reasoning,
    audio_input: audioIn,
    audio_output: audioOut,
    ...(metering.web_search_requests !== undefined && { search: metering.web_search_requests }),
    ...(metering.advisor && advisorTokens(metering.advisor)),
  }
}

/** What other models have done on the way. */
function advisorTokens(passes: NonNullable<Metering['advisor']>): Pick<Tokens, AdvisorUnit> {
  const sum = (name: 'input' | 'cache_read' | 'output'): number => passes.reduce((all, pass) => all + pass[name], 0)
  const cached = sum('cache_read')
  return { advisor_input: sum('input') - cached, advisor_cached_input: cached, advisor_output: sum('output') }
}

function detail(usage: Entry['usage'], group: string, name: string): number {
  const details = usage?.[group]
  if (typeof details !== 'object' || details === null) return 0
  const value = (details as Readonly<Record<string, unknown>>)[name]
  return typeof value === 'number' ? value : 0
}

/** The audio of a list of tokens by what they are. */
function modality(usage: Entry['usage'], name: string): number {
  const list = usage?.[name]
  const all = Array.isArray(list) ? (list as readonly Readonly<Record<string, unknown>>[]) : []
  const audio = all.find((item) => item['modality'] === 'AUDIO')?.['tokenCount']
  return typeof audio === 'number' ? audio : 0
}

/** In nano-USD, rounded up once. */
export function priceOf(tokens: Tokens): bigint {
  let total = 0n
  for (const [unit, count] of Object.entries(tokens))
    total += BigInt(count) * prices[unit as Unit] * (unit === 'search' ? 1_000_000n : 1n)
  const millions = total / 1_000_000n
  return total % 1_000_000n === 0n ? millions : millions + 1n
}

/** The same for counts of whatever kind. */
export function priceOfCounts(counts: Readonly<Record<string, number | undefined>>): bigint {
  const all: Readonly<Record<string, bigint>> = { ...prices, ...morePrices }
  let total = 0n
  for (const [unit, count = 0] of Object.entries(counts)) {
    const isPiece = unit === 'search' || (unit in morePrices && !tokenUnits.has(unit))
    total += BigInt(count) * (all[unit] ?? 0n) * (isPiece ? 1_000_000n : 1n)
  }
  const millions = total / 1_000_000n
  return total % 1_000_000n === 0n ? millions : millions + 1n
}
