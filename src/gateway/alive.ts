import { GatewayError } from '../core/errors.ts'
import { keptAlive } from '../meter/kept-alive.ts'
import type { Asked, Asking } from './asking.ts'
import type { Gateway } from './gateway.ts'

/**
 * Makes a call whose caller hears something of it even while there is nothing to say. Throws what `make` throws; where
 * the status had gone out by then, the caller has been told in the answer.
 */
export async function keepAlive(
  { platform }: Gateway,
  asking: Asking,
  { asked, make }: { readonly asked: Asked; make(asking: Asking): Promise<void> },
): Promise<void> {
  const { clock, settings } = platform
  const { keepAlive: rules } = settings
  if (!rules || (!asked.call.stream && rules.commitBodyMs === undefined)) return make(asking)
  const { front, client: caller } = asking
  const { client, fail, over } = keptAlive(caller, { front, call: asked.call, rules, clock })
  try {
    await make({ ...asking, client })
  } catch (caught) {
    fail(GatewayError.from(caught))
    throw caught
  } finally {
    over()
  }
}
