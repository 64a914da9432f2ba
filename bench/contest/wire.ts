/** A call that the contest makes: what is asked, of which shape the answer is, and how it is asked. */
export interface Shape {
  /**
   * What the vendor is to answer, which is the name of a model too: `json-BYTES`; `stream-EVENTS-MICROSECONDS`;
   * `stall-EVENTS`, a stream that goes no further; `flaky-EVENTS-EVERY`, a stream of which every so many breaks off after
   * `brokenAfter` events; `fail-STATUS-EVERY`, JSON of 1 KB or, every so many times, an error.
   */
  readonly model: string
  /** Bytes of the prompt, about. */
  readonly promptBytes: number
  /** Events of the answer; 0 for one that is not streamed. */
  readonly events: number
}

/** Tokens that every answer of the vendor reports. */
export const reported = { prompt_tokens: 57, completion_tokens: 200 } as const

const jsonModel = /^json-(\d{1,7})$/
const streamModel = /^stream-(\d{1,5})-(\d{1,7})$/
const stallModel = /^stall-(\d{1,5})$/
const flakyModel = /^flaky-(\d{1,5})-([1-9]\d{0,3})$/
const failModel = /^fail-([45]\d\d)-([1-9]\d{0,3})$/

/** Events of a stream that breaks off. */
export const brokenAfter = 8

export type AnswerShape =
  | { readonly kind: 'json'; readonly bytes: number }
  | { readonly kind: 'stream'; readonly events: number; readonly paceUs: number }
  | { readonly kind: 'stall'; readonly events: number }
  | { readonly kind: 'flaky'; readonly events: number; readonly every: number }
  | { readonly kind: 'fail'; readonly status: number; readonly every: number }

/** What the name of a model says of the answer; undefined for any other name. */
export function answerShape(model: string): AnswerShape | undefined {
  const json = jsonModel.exec(model)
  if (json) return { kind: 'json', bytes: Number(json[1]) }
  const stream = streamModel.exec(model)
  if (stream) return { kind: 'stream', events: Number(stream[1]), paceUs: Number(stream[2]) }
  const stall = stallModel.exec(model)
  if (stall) return { kind: 'stall', events: Number(stall[1]) }
  const flaky = flakyModel.exec(model)
  if (flaky) return { kind: 'flaky', events: Number(flaky[1]), every: Number(flaky[2]) }
  const fail = failModel.exec(model)
  return fail ? { kind: 'fail', status: Number(fail[1]), every: Number(fail[2]) } : undefined
}

const words = 'The quick brown fox jumps over the lazy dog and runs away. '

/** English text of exactly so many bytes. */
export function textOf(bytes: number): string {
  return words.repeat(Math.ceil(bytes / words.length)).slice(0, bytes)
}

/** The body of a call. The model comes first, so that the vendor finds it at once. */
export function bodyOf({ model, promptBytes, events }: Shape): string {
  return JSON.stringify({
    model,
    ...(events > 0 && { stream: true, stream_options: { include_usage: true } }),
    max_tokens: 400,
    messages: [{ role: 'user', content: textOf(promptBytes) }],
  })
}

/** Microseconds of the machine's own clock, which all its processes share. */
export function machineUs(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}

export const stampDigits = 16
/** What stands before the time at which the vendor wrote an event. */
export const stampMark = 'fp_'

export function stampOf(us: number): string {
  return stampMark + String(us).padStart(stampDigits, '0')
}
