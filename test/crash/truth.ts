import type { Conversation } from '../support/conversation.ts'
import { costOf, type Tale, type Told, type TokenPrices } from '../support/tales.ts'

/** What the books say of one call: all rows of one id. Money in nano-units. */
export interface Booked {
  readonly id: string
  /** The caller's name of the call; a reaped call has none. */
  readonly name: string | null
  readonly account: number
  readonly charge: bigint
  readonly outcome: string
  /** What of the charge came when another gateway had ended the call already, and whether anything did, even 0. */
  readonly late?: bigint
  readonly isLate?: boolean
}

/** What is known of one call from outside. */
export interface Truth {
  /** Its `x-request-id`. */
  readonly name: string
  readonly tale: Tale
  readonly stream: boolean
  readonly conversation: Conversation
  /** What its vendor told, where it lived to say so. */
  readonly told: Told | undefined
  /** The gateway was killed while the call ran or just after. */
  readonly isKilled: boolean
  /** Its gateway died while Redis was away or had lost its data: nobody else knows what it delivered. */
  readonly isExposed?: boolean
}

/** What a call was charged beside what it had to be. */
export interface Verdict {
  readonly charge: bigint
  readonly delivered: number
  /** Charged beyond the most that is right, or delivered and not charged; nano-units. */
  readonly over: bigint
  readonly unbilled: bigint
  /** For how long words had been coming that nobody was charged for, by the clock of the living gateway. */
  readonly unbilledMs: number
  /** The gateway was killed between the charge of a whole answer and its sending. */
  readonly isLostAnswer: boolean
  /** The call was charged under more than one id. */
  readonly isTwice: boolean
  readonly breach: string | undefined
}

export interface Judge {
  readonly prices: TokenPrices
  /** The gateway's own count of every prompt. */
  readonly promptTokens: number
  /** Words may be unbilled for so long when a gateway is killed. */
  readonly unbilledMs: number
}

const wordsOf = (text: string) => text.split(' ').length - 1

/** Holds the books against what was seen of a call. */
export function judge(judge: Judge, truth: Truth, booked: readonly Booked[]): Verdict {
  const charge = booked.reduce((sum, row) => sum + row.charge, 0n)
  const delivered = wordsOf(truth.conversation.text)
  const isLostAnswer = !truth.stream && truth.conversation.parting === 'broken' && truth.isKilled && charge > 0n
  const { least, most } = isLostAnswer ? wholeAnswer(judge, truth) : bounds(judge, truth, booked)
  const over = charge > most ? charge - most : 0n
  const unbilled = charge < least ? least - charge : 0n
  const unbilledMs = unbilled === 0n ? 0 : unbilledFor(judge, truth, charge)
  const isTwice = booked.filter((row) => row.charge > 0n).length > 1
  const verdict = { charge, delivered, over, unbilled, unbilledMs, isLostAnswer, isTwice }
  return { ...verdict, breach: breachOf(judge, truth, verdict) }
}

function breachOf(
  { unbilledMs: longest }: Judge,
  { conversation: { parting, text }, isKilled, isExposed = false }: Truth,
  { over, unbilled, unbilledMs, isTwice }: Omit<Verdict, 'breach'>,
): string | undefined {
  if (isTwice) return 'it was charged twice'
  if (over > 0n) return `it was charged ${over} too much`
  if (parting === 'broken' && text !== '' && !isKilled) return 'it broke off although nobody was killed'
  if (isExposed) return undefined
  if (unbilled > 0n && !isKilled) return `it was charged ${unbilled} too little although nobody was killed`
  if (unbilledMs > longest) return `its words came unbilled for ${Math.round(unbilledMs)} ms`
  return undefined
}

interface Bounds {
  readonly least: bigint
  readonly most: bigint
}

/** What a call may cost at least and at most. */
function bounds(judge: Judge, truth: Truth, booked: readonly Booked[]): Bounds {
  const { prices, promptTokens } = judge
  const { conversation, tale, told } = truth
  const { parting, text, usage } = conversation
  const forwarded = (words: number) => (words === 0 ? 0n : costOf(prices, promptTokens, words))
  const heard = forwarded(wordsOf(text))
  const exactly = (amount: bigint) => ({ least: amount, most: amount })
  if (parting === 'whole') return exactly(usage ? costOf(prices, usage.prompt, usage.completion) : heard)
  if (parting === 'refused') return exactly(0n)
  if (parting === 'failed') return exactly(heard)
  if (parting === 'broken') {
    // Everything had come but the end.
    const isWhole = wordsOf(text) === tale.words && booked.some(({ outcome }) => outcome === 'complete')
    return isWhole ? wholeAnswer(judge, truth) : { least: heard, most: heard }
  }
  // He hung up: what was on its way to him counts as forwarded, and nobody saw it but the vendor.
  const sent = forwarded(told?.words ?? tale.words)
  const whole = told?.isWhole === false ? 0n : wholeAnswer(judge, truth).most
  return { least: heard, most: sent > whole ? sent : whole }
}

function wholeAnswer({ prices, promptTokens }: Judge, { tale }: Truth): Bounds {
  const amount = costOf(prices, tale.promptTokens ?? promptTokens, tale.words)
  return { least: amount, most: amount }
}

/** From the first word that was not charged to the last that came. */
function unbilledFor({ prices, promptTokens }: Judge, { conversation }: Truth, charge: bigint): number {
  const { arrivals, text } = conversation
  const paid = charge - BigInt(promptTokens) * prices.input
  const words = paid > 0n ? Number(paid / prices.output) : 0
  const length = text
    .split(' ')
    .slice(0, words + 1)
    .join(' ').length
  const from = arrivals.find((arrival) => arrival.length > length)
  const to = arrivals.find((arrival) => arrival.length === text.length)
  return from && to ? to.atMs - from.atMs : 0
}
