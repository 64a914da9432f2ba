import type { Config } from '../config.ts'
import { openSeal } from '../platform/seal.ts'
import { unwrapKey } from '../platform/unwrap.ts'
import type { Seal } from '../ports.ts'
import { secretOf } from './configuration.ts'

/**
 * What vendors' keys are encrypted with in the database: the key that a service unwraps, where the configuration names
 * one, else the secret for it, else the gateway's own. Those that come later here, and what the operator names as the
 * one before, still open what they have encrypted. Throws where the service gives no key.
 */
export async function openVendorSeal(config: Config): Promise<Seal> {
  const { vendorKeySecret, previousVendorKeySecret } = config
  const own = secretOf(config)
  const current = [...(await unwrapped(config)), vendorKeySecret, own]
  const [newest = own, ...earlier] = new Set(
    [...current, previousVendorKeySecret].filter((secret) => secret !== undefined),
  )
  return openSeal(newest, earlier)
}

/** Newest first. One after the other: a service that refuses the first is not asked again. */
async function unwrapped({ keySealing }: Config): Promise<readonly string[]> {
  const plain: string[] = []
  if (keySealing) for (const wrapped of keySealing.wrapped) plain.push(await unwrapKey(keySealing.unwrap, wrapped))
  return plain
}
