import type { Call, Target } from '../core/call.ts'
import type { Catalog, Model } from '../core/catalog.ts'
import type { Random } from '../core/draw.ts'
import {
  type Candidate,
  type Enter,
  type KeyClass,
  type KeyRouting,
  type Place,
  targetName,
  type Wish,
} from '../core/routing.ts'
import type { Clock, Log } from '../ports.ts'
import { affinityOf, openSessions, type Sessions } from './affinity.ts'
import { isNamed } from './eligible.ts'
import { openOutputs, type Outputs } from './expected.ts'
import { type Health, openHealth, type TargetHealth } from './health.ts'
import type { Sighting } from './sightings.ts'
import { openRetryBudget, type RetryBudget } from './retry-budget.ts'
import { type Considered, policyOf, route } from './route.ts'
import { type KeyHealth, openVendorKeys, type VendorKeys } from './vendor-keys.ts'

/** Models whose last target is remembered. */
export interface Routing {
  readonly catalog: Catalog
  readonly model: Model
  readonly call: Call
  readonly accountId: number
  readonly wish: Wish
  readonly keyClass: KeyClass
  /** What the caller's key says of his calls. */
  readonly preference?: KeyRouting | undefined
  refuses(target: Target): string | undefined
  /** Whether a target's vendor passes calls on to vendors of its own. */
  choosesVendors?(target: Target): boolean
}

/** Where a call may be tried, best first, and how that came about. */
export interface Routed {
  readonly candidates: readonly Candidate[]
  readonly considered: readonly Considered[]
  /** A target that gets this call too, for nobody. */
  readonly mirror: Candidate | undefined
}

/** A target as the page of health shows it. */
export interface TargetReport extends TargetHealth {
  readonly target: Target
  /** Public models that it serves. */
  readonly models: readonly string[]
}

export interface VendorReport {
  readonly vendor: string
  readonly keys: readonly KeyHealth[]
}

/** Chooses targets and remembers how they did. One for a process. */
export interface Router {
  route(routing: Routing): Routed
  readonly budget: RetryBudget
  readonly random: Random
  /** What a user thinks of an answer of a target, from 0 to 1. */
  rated(target: Target, mark: number): void
  report(catalog: Catalog): { readonly targets: readonly TargetReport[]; readonly vendors: readonly VendorReport[] }
  /** From now on this hears of all that others should know. */
  watch(listener: (sighting: Sighting) => void): void
  /** Takes in what another replica has seen. */
  hear(sighting: Sighting, catalog: Catalog): void
  /** What a replica that has just come should know. */
  sightings(catalog: Catalog): readonly Sighting[]
}

export interface RouterTools {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly random: Random
  readonly log: Log
  /** Tells one secret from another without saying anything of it, the same on all replicas. Absent: nothing is shared. */
  readonly mark?: (secret: string) => string
}

interface State extends RouterTools {
  readonly health: Health
  readonly keys: VendorKeys
  readonly sessions: Sessions
  readonly outputs: Outputs
}

export function openRouter(tools: RouterTools): Router {
  const { clock, random, mark = () => 'none' } = tools
  const listeners: ((sighting: Sighting) => void)[] = []
  const tell = (sighting: Sighting): void => listeners.forEach((listener) => listener(sighting))
  const state: State = {
    ...tools,
    health: openHealth({ ...tools, tell }),
    keys: openVendorKeys({ ...tools, mark, tell }),
    sessions: openSessions(clock),
    outputs: openOutputs(clock),
  }
  const budget = openRetryBudget(clock)
  return {
    budget,
    random,
    route: (routing) => routed(state, routing),
    rated: (target, mark) => state.health.rated(targetName(target), mark),
    report: (catalog) => report(state, catalog),
    watch: (listener) => void listeners.push(listener),
    hear: (sighting, catalog) => hear(state, sighting, catalog),
    sightings: (catalog) => sightings(state, catalog),
  }
}

/** Only of what is offered here: nobody can make us remember anything else. */
function hear({ health, keys }: State, sighting: Sighting, catalog: Catalog): void {
  if ('target' in sighting) {
    const isOurs = catalog.vendors.has(sighting.target.split('/')[0] ?? '')
    if (isOurs) health.heard(sighting)
    return
  }
  const entry = catalog.vendors.get(sighting.vendor)
  if (entry) keys.heard(entry, sighting)
}

function sightings({ health, keys }: State, catalog: Catalog): readonly Sighting[] {
  const targets = new Set([...catalog.models.values()].flatMap((model) => model.targets.map(targetName)))
  return [
    ...[...catalog.vendors.values()].flatMap((entry) => keys.sightings(entry)),
    ...[...targets].flatMap((target) => health.sightings(target)),
  ]
}

/** Calls that share nothing stay where the model's last one was, under a name that no affinity has. */
const lastOf = ({ name }: Model): string => `last ${name}`

function routed(state: State, routing: Routing): Routed {
  const { model, call, accountId, wish, keyClass, catalog } = routing
  const { sessions, outputs, health, keys, random } = state
  const affinity = affinityOf(accountId, call, wish.session)
  const session = affinity ?? lastOf(model)
  const found = route(
    { ...routing, affinity },
    {
      health: (target) => health.of(targetName(target)),
      keys: keys.look,
      before: sessions.get(session),
      outputTokens: outputs.expect(call, model.name),
      draws: { order: random(), canary: random(), explore: random(), which: random() },
    },
  )
  const policy = policyOf(routing)
  const candidates = found.targets.map(({ target }) =>
    candidateOf(state, { routing, target, session, slowMs: policy.slowMs }),
  )
  const shadow = policy.mirror && random() * 100 < policy.mirror.percent ? policy.mirror.target : undefined
  const mirror = shadow === undefined ? undefined : mirrorOf(catalog, model, shadow)
  return {
    candidates,
    considered: [...found.targets, ...found.refused],
    mirror:
      mirror &&
      candidateOf(state, {
        routing: { ...routing, keyClass: { ...keyClass, priority: 'test' } },
        target: mirror,
        session: undefined,
        slowMs: undefined,
      }),
  }
}

/** A mirror need not be a target of the model: that is how one is tried out before it serves anybody. */
function mirrorOf({ vendors, models }: Catalog, model: Model, name: string): Target | undefined {
  const own = model.targets.find((target) => isNamed(target, name))
  if (own) return own
  const at = name.indexOf('/')
  const [vendor, vendorModel] = [name.slice(0, at), name.slice(at + 1)]
  if (at === -1 || !vendors.has(vendor)) return undefined
  for (const { targets } of models.values()) {
    const other = targets.find((target) => isNamed(target, name))
    if (other) return other
  }
  return { vendor, model: vendorModel }
}

interface Chosen {
  readonly routing: Routing
  readonly target: Target
  /** What remembers where the call was served; undefined: nothing. */
  readonly session: string | undefined
  readonly slowMs: number | undefined
}

function candidateOf(state: State, chosen: Chosen): Candidate {
  const { target, routing } = chosen
  return { target, model: routing.model.name, enter: (how) => enter(state, chosen, how) }
}

function enter(state: State, { routing, target, session, slowMs }: Chosen, how: Enter): Place | undefined {
  const { health, keys, sessions, outputs } = state
  const { catalog, keyClass, call, model } = routing
  const entry = catalog.vendors.get(target.vendor)
  if (!entry || entry.apiKeys.length === 0) return undefined
  const name = targetName(target)
  const use = keys.take({ entry, target, keyClass }, how)
  if (!use) return undefined
  const visit = health.enter(name, { isLastResort: how.isLastResort, slowMs })
  if (!visit) {
    use.over()
    return undefined
  }
  let isOver = false
  const over = (): boolean => {
    if (isOver) return true
    isOver = true
    use.over()
    return false
  }
  return {
    keyId: use.key.id,
    apiKey: use.key.secret,
    slowAfterMs: visit.slowAfterMs,
    heard: use.heard,
    slow: visit.slow,
    answered() {
      visit.answered()
      use.worked()
      if (session !== undefined) sessions.set(session, name)
    },
    failed(failure) {
      if (over()) return
      use.failed(failure)
      const { code, status, fault } = failure
      // That a vendor limits us, or that a request is wrong, says nothing about the vendor's own state.
      if (fault === 'caller') visit.ended({ paced: false })
      else visit.failed({ code, status, counts: fault === 'down' })
    },
    ended(said) {
      if (over()) return
      if (said.counts) outputs.seen(call, model.name, said.counts)
      visit.ended(said)
    },
    left() {
      if (!over()) visit.left()
    },
  }
}

function report({ health, keys }: State, catalog: Catalog) {
  const targets = new Map<string, { target: Target; models: string[] }>()
  for (const model of catalog.models.values()) {
    for (const target of model.targets) {
      const known = targets.get(targetName(target)) ?? { target, models: [] }
      known.models.push(model.name)
      targets.set(targetName(target), known)
    }
  }
  return {
    targets: [...targets].map(([name, shown]) => ({ ...health.of(name), ...shown })),
    vendors: [...catalog.vendors.values()].map((entry) => ({ vendor: entry.id, keys: keys.shown(entry) })),
  }
}
