import type { Authenticator } from '../auth/authenticate.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Ledger } from '../ledger/hold.ts'
import type { Telemetry } from '../record/telemetry.ts'
import type { Platform } from '../ports.ts'

/** Everything that serving a call needs. */
export interface Gateway {
  readonly platform: Platform
  readonly ledger: Ledger
  readonly auth: Authenticator
  readonly telemetry: Telemetry
  /** Calls that wait for a vendor and streams under way, so that a stopping process can end them in order. */
  readonly running: Set<{ interrupt(error: GatewayError): void }>
  /** True once the process is stopping: no new call is taken. */
  isStopping: boolean
}
