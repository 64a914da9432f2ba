import { idempotencyHeader, idempotencyKey } from '../call/idempotency.ts'
import { exactText } from '../call/request-name.ts'
import type { Asked, Asking } from './asking.ts'
import type { Gateway } from './gateway.ts'

/**
 * Makes a call that has a name of its caller's once, however often it is sent: then its answer is sent again, and it is
 * charged once. Throws GatewayError as `Idempotency.once` does, and whatever `make` throws.
 */
export async function makeOnce(
  { idempotency, platform }: Gateway,
  asking: Asking,
  { asked, make }: { readonly asked: Asked; make(asking: Asking): Promise<void> },
): Promise<void> {
  const { client, id, path } = asking
  const key = idempotencyKey(client.header(idempotencyHeader))
  if (key === undefined || !idempotency) return make(asking)
  const { keyHash } = platform.crypto
  const name = keyHash(JSON.stringify(['idempotency', asked.caller.accountId, key]))
  const digest = keyHash(exactText(asked, path))
  await idempotency.once({ id, name, digest, client }, (recording) => make({ ...asking, client: recording }))
}
