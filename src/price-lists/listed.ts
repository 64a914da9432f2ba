import { type Condition, type Rate, type Unit, type UnitPrices, units } from '../core/price.ts'
import { printCondition } from '../core/rates.ts'
import { type ListJson, scaled } from './decimal.ts'

/** The lists that can be read. */
export const lists = ['litellm', 'models.dev'] as const
export type List = (typeof lists)[number]

/** What one list says of one model, in our units: nano-dollars per million tokens or per piece. */
export interface Listed {
  readonly list: List
  /** Its name in the list. */
  readonly name: string
  readonly nanos: UnitPrices
  readonly rates: readonly Rate[]
  /** What the list says beside, and why it was not taken. */
  readonly notes: readonly string[]
}

/** Collects prices of one model, condition by condition. */
export interface Tally {
  add(when: Condition, unit: Unit, price: ListJson | undefined): void
  multiply(when: Condition, factor: ListJson | undefined): void
  note(text: string): void
  finish(list: List, name: string): Listed
}

/** Powers of ten from the list's dollars to our nano-units. */
export interface Scale {
  readonly mtok: number
  readonly unit: number
}

interface Entry {
  readonly when: Condition
  readonly nanos: Partial<Record<Unit, bigint>>
  tokensPpm?: number
}

const ppmPower = 6
const largestPpm = 1_000_000_000n

/** `scale`: what a price for tokens and one for a piece are multiplied with, as powers of ten. */
export function tally(scale: Scale): Tally {
  const entries = new Map<string, Entry>([['', { when: {}, nanos: {} }]])
  const notes: string[] = []

  function entryOf(when: Condition): Entry {
    const name = printCondition(when)
    const entry = entries.get(name) ?? { when, nanos: {} }
    entries.set(name, entry)
    return entry
  }
  const told = (when: Condition, what: string) => [what, printCondition(when)].filter((text) => text !== '').join(' ')

  return {
    add(when, unit, price) {
      if (price === undefined || price === null) return
      const nanos = typeof price === 'string' ? scaled(price, scale[units[unit].per]) : undefined
      const isPlain = Object.keys(when).length === 0
      if (nanos === undefined) notes.push(`${told(when, unit)}: ${shown(price)} is no whole number of nano-units`)
      // A zero mostly means that nobody filled it in; for prompt and answer the one who asks must decide that.
      else if (nanos === 0n && !(isPlain && (unit === 'input' || unit === 'output')))
        notes.push(`${told(when, unit)}: zero`)
      else entryOf(when).nanos[unit] = nanos
    },
    multiply(when, factor) {
      const ppm = typeof factor === 'string' ? scaled(factor, ppmPower) : undefined
      if (ppm === undefined || ppm <= 0n || ppm > largestPpm) notes.push(`${told(when, 'multiplier')}: cannot be read`)
      else entryOf(when).tokensPpm = Number(ppm)
    },
    note: (text) => void notes.push(text),
    finish(list, name) {
      const [plain, ...others] = [...entries.values()]
      const isWhole = ({ nanos, tokensPpm }: Entry) =>
        tokensPpm !== undefined || (nanos.input !== undefined && nanos.output !== undefined)
      const partial = others.filter((entry) => !isWhole(entry) && Object.keys(entry.nanos).length > 0)
      return {
        list,
        name,
        nanos: plain?.nanos ?? {},
        rates: others.filter(isWhole),
        notes: [...notes, ...partial.map(({ when }) => `${printCondition(when)}: not for prompt and answer both`)],
      }
    },
  }
}

const shownLength = 40

function shown(value: ListJson): string {
  return (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, shownLength)
}
