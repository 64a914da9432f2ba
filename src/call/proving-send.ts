import type { Receiver, Send, Sending, VendorRequest } from '../ports.ts'
import { type AccessTokens, openAccessTokens, type TokenTools } from './access-tokens.ts'

/**
 * Sends requests with the proof that their vendors ask for; those without one go as they are. A credential of which no
 * proof can be had fails its request with CredentialRefused.
 */
export function provingSend(tools: TokenTools): Send {
  const { send, clock, proving } = tools
  const tokens = openAccessTokens(tools)
  return (request, receiver) => {
    const { proof } = request
    if (!proof) return send(request, receiver)
    if (proof.kind === 'token') return sendWithToken({ send, tokens }, { ...request, proof }, receiver)
    const later = (): Promise<VendorRequest> =>
      // Within a promise, so that a refusal is told after this function has returned, as everything else is.
      Promise.resolve().then(() => withHeaders(request, proof.headers(request, clock.now(), proving.digest)))
    return sendLater(send, later(), receiver)
  }
}

function withHeaders(request: VendorRequest, headers: Readonly<Record<string, string>>): VendorRequest {
  return { ...request, headers: { ...request.headers, ...headers } }
}

type TokenRequest = VendorRequest & { readonly proof: Extract<VendorRequest['proof'], { kind: 'token' }> }

function sendWithToken(
  { send, tokens }: { readonly send: Send; readonly tokens: AccessTokens },
  request: TokenRequest,
  receiver: Receiver,
): Sending {
  const { proof } = request
  const carry = (token: string): VendorRequest => withHeaders(request, { authorization: `Bearer ${token}` })
  let carried = tokens.kept(proof)
  const watching: Receiver = {
    ...receiver,
    head(head) {
      // Tokens can be taken back before their end.
      if (head.status === 401 && carried !== undefined) tokens.refused(proof, carried)
      receiver.head(head)
    },
  }
  if (carried !== undefined) return send(carry(carried), watching)
  const asked = tokens.take(proof).then((token) => {
    carried = token
    return carry(token)
  })
  return sendLater(send, asked, watching)
}

/** Sends a request that is not ready yet. Given up before that, it is never sent. */
function sendLater(send: Send, asked: Promise<VendorRequest>, receiver: Receiver): Sending {
  let sending: Sending | undefined
  let isOver = false
  let isPaused = false
  void asked
    .then((request) => {
      if (isOver) return
      sending = send(request, receiver)
      if (isPaused) sending.pause()
    })
    .catch((error: unknown) => {
      if (!isOver) receiver.fail(error instanceof Error ? error : new Error(String(error)))
    })
  return {
    pause() {
      isPaused = true
      sending?.pause()
    },
    resume() {
      isPaused = false
      sending?.resume()
    },
    abort() {
      isOver = true
      sending?.abort()
    },
  }
}
