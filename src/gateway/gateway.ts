import type { Authenticator } from '../auth/authenticate.ts'
import type { Ledger } from '../ledger/hold.ts'
import type { Relay } from '../meter/relay.ts'
import type { Platform } from '../ports.ts'

/** Everything that serving a call needs. */
export interface Gateway {
  readonly platform: Platform
  readonly ledger: Ledger
  readonly auth: Authenticator
  /** Streams under way, so that a stopping process can end them in order. */
  readonly running: Set<Relay>
  /** True once the process is stopping: no new call is taken. */
  isStopping: boolean
}
