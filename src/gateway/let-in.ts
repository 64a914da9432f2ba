import type { Caller } from '../core/call.ts'
import { StaleKey } from '../ledger/hold.ts'
import { type Asked, type Asking, callerOf, modelFor } from './asking.ts'
import type { Gateway } from './gateway.ts'

export interface LetIn<Request, Admitted> {
  /** Whoever asks, as the request was read. */
  readonly request: Request
  /** Throws StaleKey where the key was changed since it was cached. */
  admit(gateway: Gateway, request: Request & { address?(): string | undefined }): Promise<Admitted>
}

/**
 * Admits a request; one whose key was changed since it was cached is authenticated anew, once. Says as whom it was let
 * in. Throws GatewayError for whoever may not, and for every limit that is reached.
 */
export async function letIn<Request extends Pick<Asked, 'caller' | 'call'>, Admitted>(
  gateway: Gateway,
  asking: Asking,
  { request, admit }: LetIn<Request, Admitted>,
): Promise<{ readonly caller: Caller; readonly admission: Admitted }> {
  const placed = { ...request, ...(asking.address && { address: asking.address }) }
  try {
    return { caller: request.caller, admission: await admit(gateway, placed) }
  } catch (error) {
    if (!(error instanceof StaleKey)) throw error
    gateway.auth.forget()
    const caller = await callerOf(gateway, asking)
    modelFor(gateway, caller, request.call)
    return { caller, admission: await admit(gateway, { ...placed, caller }) }
  }
}
