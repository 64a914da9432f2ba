import type { LedgerAssertion } from '../ledger/engine/assert.ts'
import { systemClock } from '../platform/clock.ts'
import { type CellStub, openDurable } from '../platform/durable.ts'
import { openMemory } from '../platform/memory.ts'
import { noJournal } from '../platform/no-journal.ts'
import type { Log, Shared } from '../ports.ts'

/** Where a gateway at the edge keeps its holds. */
export interface EdgeStore {
  /** Its first `begin` waits for nothing. */
  readonly shared: Shared
  /** What is due: of one spender, or, where the store is this isolate, of all. */
  claimOf(spender: string | undefined): Shared['claim']
  /** Whether it calls when something is due. */
  readonly sweepsItself: boolean
}

export interface EdgeStoreOptions {
  /** What the deployment has bound to the name of the ledger; anything but a namespace of objects is none. */
  readonly binding: unknown
  /** The account whose calls are served. */
  readonly accountId: number
  readonly log: Log
  /** Lets a question to an object live until it is answered. */
  readonly keep: (work: Promise<unknown>) => void
}

/** Durable Objects where they are bound, else the memory of this isolate. */
export function openEdgeStore(options: EdgeStoreOptions): EdgeStore {
  return isNamespace(options.binding) ? durableStore(options, options.binding) : memoryStore(options)
}

function durableStore({ accountId, log, keep }: EdgeStoreOptions, namespace: Namespace): EdgeStore {
  const shared = openDurable({
    stub: (spender) => namespace.get(namespace.idFromName(spender)),
    clock: systemClock,
    log,
    keep,
    onAssertion: stopping(log),
  })
  const spender = shared.spenderOf(accountId)
  let isOpened = false
  return {
    shared: {
      ...shared,
      // All calls at the edge are of one account, so there is one spender.
      spenderOf: () => spender,
      begin(name, epoch) {
        if (isOpened) return shared.begin(name, epoch)
        // A request that opens the gateway may be cut off at any question, and would leave it half open for all that
        // wait for it. So the object is not asked yet: the first call is told which epoch stands.
        isOpened = true
        return Promise.resolve(epoch)
      },
    },
    claimOf: (name) => (limit, hideMs) => shared.claimOf(name ?? spender, limit, hideMs),
    sweepsItself: true,
  }
}

function memoryStore({ log }: EdgeStoreOptions): EdgeStore {
  const shared = openMemory({ clock: systemClock, journal: noJournal, onAssertion: stopping(log) })
  return { shared, claimOf: () => shared.claim, sweepsItself: false }
}

function stopping(log: Log) {
  return (assertion: LedgerAssertion, accountId: number) =>
    log('account_stopped', { accountId, rule: assertion.message })
}

/** What of a binding to Durable Objects is used. */
interface Namespace {
  idFromName(name: string): unknown
  get(id: unknown): CellStub
}

function isNamespace(binding: unknown): binding is Namespace {
  return typeof binding === 'object' && binding !== null && 'idFromName' in binding && 'get' in binding
}
