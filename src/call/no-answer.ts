import type { Attempt } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'

/** No target gave an answer. `attempts` tells what was tried. */
export class NoAnswer extends Error {
  readonly error: GatewayError
  readonly attempts: readonly Attempt[]
  constructor(error: GatewayError, attempts: readonly Attempt[]) {
    super(error.message, { cause: error })
    this.name = 'NoAnswer'
    this.error = error
    this.attempts = attempts
  }
}

/** The caller hung up while we waited. `begun` says whether a vendor had started to answer. */
export class CallerGone extends Error {
  readonly attempts: readonly Attempt[]
  readonly begun: boolean
  constructor(attempts: readonly Attempt[], begun: boolean) {
    super('The caller hung up.')
    this.name = 'CallerGone'
    this.attempts = attempts
    this.begun = begun
  }
}
