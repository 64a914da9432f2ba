/** What sets the models of this family apart, as far as a translated request has to know. */
export interface Abilities {
  /** The most output tokens that the vendor takes in `max_tokens`, thinking included. */
  readonly maxOutput: number
  /**
   * `budget`: thinking has a number of tokens and is off unless asked for. `adaptive`: the model decides, guided by an
   * effort. `always`: the same, and it cannot be turned off.
   */
  readonly thinking: 'none' | 'budget' | 'adaptive' | 'always'
  /** It takes `effort: "xhigh"`. */
  readonly hasXhigh: boolean
  /** It takes temperature, top_p and top_k. */
  readonly samples: boolean
  /** A tool can be demanded. */
  readonly forcesTools: boolean
  /** It takes a JSON schema for its answer. */
  readonly structured: boolean
  /** What it thinks is only shown where that is asked for. */
  readonly hidesThoughts: boolean
}

const oldest: Abilities = {
  maxOutput: 4_096,
  thinking: 'none',
  hasXhigh: false,
  samples: true,
  forcesTools: true,
  structured: false,
  hidesThoughts: false,
}
const budgeted: Abilities = { ...oldest, maxOutput: 64_000, thinking: 'budget' }
const adaptive: Abilities = { ...budgeted, maxOutput: 128_000, thinking: 'adaptive', structured: true }
const current: Abilities = { ...adaptive, hasXhigh: true, samples: false, hidesThoughts: true }
const always: Abilities = { ...current, thinking: 'always' }

/**
 * The vendor's tables of models (https://platform.claude.com/docs: models, thinking, effort, structured outputs), read
 * in November 2026. The first pattern that fits decides, so that a name comes before those that it begins with.
 */
const families: readonly (readonly [name: RegExp, abilities: Abilities])[] = [
  [/claude-(sonnet|opus)-5-5|claude-fable-5-[12]/, { ...always, forcesTools: false }],
  [/claude-fable-5/, always],
  [/claude-haiku-5-5|claude-opus-5|claude-sonnet-5|claude-opus-4-[78]/, current],
  [/claude-(sonnet|opus)-4-6/, adaptive],
  [/claude-(sonnet|opus|haiku)-4-5/, { ...budgeted, structured: true }],
  [/claude-opus-4-1/, { ...budgeted, maxOutput: 32_000, structured: true }],
  [/claude-opus-4(-[02]|@|$)/, { ...budgeted, maxOutput: 32_000 }],
  [/claude-sonnet-4(-[02]|@|$)|claude-3-7/, budgeted],
  [/claude-3-5/, { ...oldest, maxOutput: 8_192 }],
  [/claude-(3|2|v2|instant)/, oldest],
  // One that came later than this table is taken for one of the newest.
  [/claude/, current],
]

/** What a model can do, by the vendor's own name of it; another vendor's model behind the same wire is taken for old. */
export function abilitiesOf(model: string): Abilities {
  return families.find(([name]) => name.test(model))?.[1] ?? { ...oldest, thinking: 'budget', maxOutput: 8_192 }
}
