import { isRedisShaky } from './profiles.ts'
import { startReplica } from './replica.ts'
import { concurrency, limited, settings, type Slot, type State } from './scene.ts'
import { type Plan, simSend, type Truth } from './traffic.ts'

/** What the log may say in some weathers, and what it must never say. */
const outOfReach: readonly unknown[] = ['heartbeat', 'frozen leases', 'own leases']

export function start(state: State, slot: Slot): void {
  const { world, books, weather, problems, redis } = state
  if (slot.isStarting) return
  slot.isStarting = true
  const send = (owner: Parameters<typeof simSend>[1]) => simSend(world, owner, (body) => callOf(state, body))
  const onLog = (event: string, fields?: Readonly<Record<string, unknown>>) => {
    if (event === 'job_failed' && outOfReach.includes(fields?.['job'])) return
    if (['assertion', 'unhandled', 'charge_failed', 'job_failed', 'internal_error'].includes(event))
      problems.push(`${event} ${JSON.stringify(fields)}`)
  }
  startReplica({
    world,
    books,
    weather,
    disk: slot.disk,
    send,
    catalog: () => state.catalog,
    settings: { ...settings, replica: slot.name },
    skew: slot.skew,
    onLog,
    hooks: state.hooks,
    ...(redis && { redis: { server: redis, link: slot.link } }),
  }).then(
    (replica) => {
      slot.isStarting = false
      slot.replica = replica
    },
    () => {
      slot.isStarting = false
      world.after(1_000, () => start(state, slot))
    },
  )
}

function callOf({ truths, plans, problems, profile }: State, body: string): { plan: Plan; truth: Truth } {
  const id = /call ([0-9a-f-]{36})/.exec(body)?.[1] ?? ''
  const plan = plans.get(id)
  const truth = truths.get(id)
  if (!plan || !truth) throw new Error('a vendor was called for nobody')
  // Of holds that a lost Redis or a stopped process leaves behind no slot is kept.
  const isExact = profile.replicas === 0 || !(isRedisShaky(profile) || profile.pause > 0)
  if (truth.accountId === limited && isExact) {
    const busy = [...truths.values()].filter(({ accountId, atVendor }) => accountId === limited && atVendor).length
    if (busy >= concurrency) problems.push(`${busy + 1} calls at a time, of ${concurrency}`)
  }
  return { plan, truth }
}
