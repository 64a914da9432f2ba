import type { Shares } from '../admit/shares.ts'
import type { SheddingRules } from '../admit/shedding.ts'
import type { Authenticator } from '../auth/authenticate.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Fleeting } from '../core/fleeting.ts'
import type { AnswerCache } from '../call/answer-cache.ts'
import type { Idempotency } from '../call/idempotency.ts'
import type { Ledger } from '../ledger/hold.ts'
import type { Telemetry } from '../record/telemetry.ts'
import type { Router, TargetReport, VendorReport } from '../route/router.ts'
import type { Platform } from '../ports.ts'

/** Everything that serving a call needs. */
export interface Gateway {
  readonly platform: Platform
  readonly ledger: Ledger
  readonly auth: Authenticator
  readonly telemetry: Telemetry
  /** Chooses among the targets, and remembers how they do. */
  readonly router: Router
  /** Answers that identical calls get; absent: none. */
  readonly answers?: AnswerCache
  /** Calls with an `Idempotency-Key`; absent: it means nothing. */
  readonly idempotency?: Idempotency
  /** This replica's shares of limits over accounts; absent: there are none. */
  readonly shares?: Shares
  /** What the next call has to wait for before it begins, so that many at once do not hold up what runs; absent: nothing. */
  readonly turn?: () => Promise<void>
  /** How late the process is with what it does, in ms, and from where on it refuses calls; absent: it refuses none. */
  readonly shedding?: { readonly lagMs: () => number; readonly rules: SheddingRules }
  /** Calls that wait for a vendor and streams under way, so that a stopping process can end them in order. */
  readonly running: Fleeting<{ interrupt(error: GatewayError): void }>
  /** True once the process is stopping: no new call is taken. */
  isStopping: boolean
}

export type { Router, TargetReport, VendorReport }
