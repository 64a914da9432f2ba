import type { Target } from '../../src/core/call.ts'
import type { Candidate, Place, TryFailure } from '../../src/core/routing.ts'

/** What a candidate was told, in words: `failed down vendor_error`, `answered`, `ended`, `left`. */
export interface Told {
  readonly said: string[]
}

export interface CandidateOptions {
  readonly keys?: readonly string[]
  readonly slowAfterMs?: number
  /** Takes a call only where nothing else is left. */
  readonly isUnready?: boolean
  /** Takes none at all. */
  readonly isShut?: boolean
}

/** A candidate that lets every call in and writes down what it is told. */
export function candidate(target: Target, options: CandidateOptions = {}): Candidate & Told {
  const said: string[] = []
  const { keys = ['key'], isUnready = false, isShut = false, slowAfterMs } = options
  return {
    target,
    model: 'm',
    said,
    enter({ without, isLastResort }) {
      const key = keys.find((each) => !without.has(each))
      if (key === undefined || isShut || (isUnready && !isLastResort)) return undefined
      return placeOf(key, { said, slowAfterMs })
    },
  }
}

function placeOf(key: string, { said, slowAfterMs }: { said: string[]; slowAfterMs: number | undefined }): Place {
  return {
    keyId: key,
    apiKey: `${key}-secret`,
    slowAfterMs,
    heard: () => {},
    slow: () => void said.push('slow'),
    answered: () => void said.push('answered'),
    failed: ({ fault, code }: TryFailure) => void said.push(`failed ${fault} ${code}`),
    ended: ({ counts }) => void said.push(`ended ${JSON.stringify(counts ?? {})}`),
    left: () => void said.push('left'),
  }
}
