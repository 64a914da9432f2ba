import { type Alert, openWebhook, type Webhook } from '../alerts/webhook.ts'
import type { Config } from '../config.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Sighting } from '../route/sightings.ts'
import { systemRandom } from '../platform/random.ts'
import type { Send } from '../ports.ts'

/** Tells the operator's webhook of our keys at vendors, where the configuration names one. */
export function openAlerting(
  { alerts }: Pick<Config, 'alerts'>,
  { router, platform }: Gateway,
  send: Send,
): Pick<Webhook, 'close'> {
  if (!alerts) return { close() {} }
  const { clock, log, settings } = platform
  const webhook = openWebhook({ ...alerts, send, clock, log, random: systemRandom, replica: settings.replica })
  router.watch((sighting) => {
    const alert = alertOf(sighting)
    if (alert) webhook.tell(alert)
  })
  return webhook
}

/** Only what somebody has to do something about, once: a key that is parked for longer was told already. */
function alertOf(seen: Sighting): Alert | undefined {
  if (seen.kind === 'key_works') {
    const { vendor, key } = seen
    return { event: 'vendor_key_works', text: `Key "${key}" of ${vendor} works again.`, fields: { vendor, key } }
  }
  if (seen.kind !== 'key_parked' || seen.again) return undefined
  const { vendor, key, reason, status, forMs } = seen
  const why = reason === 'out_of_credit' ? 'is out of credit' : 'is refused'
  return {
    event: 'vendor_key_parked',
    text: `Key "${key}" of ${vendor} ${why} (status ${status}): it is not used for now.`,
    fields: { vendor, key, reason, status, retry_in_ms: forMs },
  }
}
