import type { Target } from '../core/call.ts'
import type { Catalog, Model } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'

/** The targets of a model that can be called now, best first: in the order that the operator gave them. */
export function route(catalog: Catalog, model: Model): readonly Target[] {
  const live = model.targets.filter((target) => (catalog.vendors.get(target.vendor)?.apiKeys.length ?? 0) > 0)
  if (live.length === 0) {
    throw new GatewayError(
      'no_target_available',
      `Model "${model.name}" has no vendor that is set up. Its operator must give a vendor key.`,
    )
  }
  return live
}
