import { GatewayError } from './errors.ts'

/**
 * The shared records did not answer, or not in time: a command may have run or not, and may be sent again. Whoever can
 * spend without them does; where nobody can, the caller sees `billing_unavailable`.
 */
export class SharedUnavailable extends GatewayError {
  constructor(cause: unknown) {
    super('billing_unavailable', 'Calls cannot be billed at the moment. Try again shortly.', {
      retryAfterMs: 2_000,
      cause,
    })
    this.name = 'SharedUnavailable'
  }
}
