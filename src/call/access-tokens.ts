import { concat } from '../core/concat.ts'
import { CredentialRefused } from '../core/credential-refused.ts'
import { isObject, parseJson, stringOf } from '../core/wire.ts'
import type { AccessToken, Clock, Log, Proving, Send, TokenGrant, VendorRequest } from '../ports.ts'

/** A token is renewed so long before its end: a request that is under way with it must still be let in. */
const marginMs = 60_000
/** Connecting included; no call waits longer for a token. */
const exchangeMs = 10_000
/** After one that failed: a call costs no exchange of its own. */
const refusedMs = 10_000
const failedMs = 1_000
const answerLimit = 64 * 1024
/** More grants than any configuration has keys for; the oldest are forgotten first. */
const grantLimit = 1_000
const maxCodeLength = 64

export interface AccessTokens {
  /** The token that is there already. */
  kept(grant: TokenGrant): string | undefined
  /**
   * The same, or a new one; calls that wait for one share one exchange. Rejects with CredentialRefused where it is
   * refused, with another error where nobody could be asked.
   */
  take(grant: TokenGrant): Promise<string>
  /** The vendor did not take it: the next call gets another. */
  refused(grant: TokenGrant, token: string): void
}

export interface TokenTools {
  readonly send: Send
  readonly clock: Clock
  readonly log: Log
  readonly proving: Proving
}

/** What is known of a grant. */
interface State {
  token: { readonly text: string; readonly untilMs: number } | undefined
  failure: { readonly error: Error; readonly untilMs: number } | undefined
  /** An exchange under way. A platform may drop it with the request that began it, so it counts for a while only. */
  pending: { readonly token: Promise<string>; readonly untilMs: number } | undefined
}

/** Access tokens of this process, each exchanged once and kept until shortly before its end. */
export function openAccessTokens(tools: TokenTools): AccessTokens {
  const states = new Map<string, State>()
  const { clock } = tools
  const stateOf = ({ id }: TokenGrant): State => {
    const known = states.get(id)
    if (known) return known
    const state: State = { token: undefined, failure: undefined, pending: undefined }
    states.set(id, state)
    const [oldest = id] = states.keys()
    if (states.size > grantLimit) states.delete(oldest)
    return state
  }
  const keptIn = ({ token }: State): string | undefined =>
    token && token.untilMs > clock.elapsed() ? token.text : undefined

  return {
    kept: (grant) => keptIn(stateOf(grant)),
    refused(grant, token) {
      const state = stateOf(grant)
      if (state.token?.text === token) state.token = undefined
    },
    async take(grant) {
      const state = stateOf(grant)
      const nowMs = clock.elapsed()
      const kept = keptIn(state)
      if (kept !== undefined) return kept
      if (state.failure && state.failure.untilMs > nowMs) throw state.failure.error
      if (!state.pending || state.pending.untilMs <= nowMs)
        state.pending = { token: renewed(tools, grant, state), untilMs: nowMs + exchangeMs }
      return within(clock, state.pending.token, state.pending.untilMs - nowMs)
    },
  }
}

/** Asks for a token and keeps what came of it. */
async function renewed(tools: TokenTools, grant: TokenGrant, state: State): Promise<string> {
  const { clock, log } = tools
  try {
    const { text, lifeMs } = await exchange(tools, grant)
    state.failure = undefined
    state.token = { text, untilMs: clock.elapsed() + lifeMs - Math.min(marginMs, lifeMs / 2) }
    return text
  } catch (caught) {
    const error = caught instanceof Error ? caught : new Error(String(caught))
    const isRefused = error instanceof CredentialRefused
    state.failure = { error, untilMs: clock.elapsed() + (isRefused ? refusedMs : failedMs) }
    log(isRefused ? 'vendor_token_refused' : 'vendor_token_failed', { error: error.message })
    throw error
  } finally {
    state.pending = undefined
  }
}

async function exchange({ send, clock, proving }: TokenTools, grant: TokenGrant): Promise<AccessToken> {
  const unsigned = grant.assertion(clock.now())
  const signature = await proving.signRs256(grant.privateKey, unsigned).catch((cause: unknown) => {
    throw new CredentialRefused('the private key of the credential cannot sign', cause)
  })
  const { status, body } = await answerTo({ send, clock }, grant.request(`${unsigned}.${signature}`))
  const said = parseJson(body)
  const told = isObject(said) ? said : {}
  if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
    // A code such as invalid_grant; the words beside it may name the account.
    const code = stringOf(told['error']).slice(0, maxCodeLength).replaceAll(/\W/g, '_')
    throw new CredentialRefused(`the credential was refused a token with status ${status}${code && `, ${code}`}`)
  }
  const token = status === 200 ? grant.token(told) : undefined
  if (!token) throw new Error(`asking for a token was answered with status ${status} and no token`)
  return token
}

interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

/** One request and its whole answer, in bounded time and size. */
function answerTo({ send, clock }: Pick<TokenTools, 'send' | 'clock'>, request: VendorRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let [status, size] = [0, 0]
    const fail = (why: string, cause?: unknown): void => {
      stop()
      sending.abort()
      reject(new Error(why, { cause }))
    }
    const stop = clock.after(exchangeMs, () => fail(`asking for a token took longer than ${exchangeMs} ms`))
    const sending = send(request, {
      head: (head) => {
        status = head.status
      },
      data(chunk) {
        size += chunk.length
        if (size > answerLimit) fail('the answer to asking for a token is too large')
        else chunks.push(chunk)
      },
      end() {
        stop()
        resolve({ status, body: concat(chunks) })
      },
      fail: (error) => fail('nobody could be asked for a token', error),
    })
  })
}

/** For those who wait for what another call has begun. */
function within(clock: Clock, token: Promise<string>, ms: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(ms, () => reject(new Error(`a token did not come within ${exchangeMs} ms`)))
    void token.then(resolve, reject).finally(stop)
  })
}
