import type { Command, Decision } from '../../src/ledger/engine/commands.ts'
import type { decide } from '../../src/ledger/engine/decide.ts'
import type { Records } from '../../src/ledger/engine/records.ts'
import type { Books, Shared } from '../../src/ports.ts'
import { countTokens } from './traffic.ts'
import type { Hooks } from './replica.ts'

/** A bug put into the protocol on purpose, and the weather in which it must show. */
export interface Mutant {
  readonly name: string
  readonly profile: string
  readonly hooks: Hooks
}

type Engine = typeof decide
type Change = (records: Records, command: Command, decision: Decision) => Decision

/** The engine with its decision about one kind of command changed. */
function after(type: Command['type'], change: Change): Hooks {
  const engine = (original: Engine): Engine =>
    ((records: Records, command: Command, nowMs: number) => {
      const decision = original(records, command, nowMs) as Decision
      return command.type === type && decision.reply.code === 'ok' ? change(records, command, decision) : decision
    }) as Engine
  return { engine }
}

const withBooks = (change: (books: Books) => Partial<Books>): Hooks => ({
  books: (books) => ({ ...books, ...change(books) }),
})
const withShared = (change: (shared: Shared) => Partial<Shared>): Hooks => ({
  shared: (shared) => ({ ...shared, ...change(shared) }),
})
const without = <T extends object, K extends keyof T>(of: T, name: K): Omit<T, K> => {
  const { [name]: _, ...rest } = of
  return rest
}

/** Makes the same record look like another each time that it is sent. */
let sendings = 0

/** Each must be caught; one that is not shows a hole in the simulation. */
export const mutants: readonly Mutant[] = [
  {
    name: 'admit sets nothing aside',
    profile: 'calm',
    hooks: after('admit', ({ account }, _, decision) => ({ ...decision, ...(account && { account }) })),
  },
  {
    name: 'admit forgets the slot of the key',
    profile: 'calm',
    hooks: after('admit', ({ keys }, _, decision) => ({ ...decision, keys: [...keys.values()] })),
  },
  {
    name: 'extend sets nothing aside',
    profile: 'calm',
    hooks: after('extend', ({ account }, _, decision) => ({ ...decision, ...(account && { account }) })),
  },
  {
    name: 'extend grants without a record of it',
    profile: 'calm',
    hooks: after('extend', (_, __, decision) => without(decision, 'hold')),
  },
  {
    name: 'settle keeps what was held',
    profile: 'calm',
    hooks: after('settle', ({ account }, _, decision) => ({ ...decision, ...(account && { account }) })),
  },
  {
    name: 'settle keeps the slot',
    profile: 'calm',
    hooks: after('settle', ({ keys }, _, decision) => ({ ...decision, keys: [...keys.values()] })),
  },
  {
    name: 'void keeps what was held',
    profile: 'hang-ups',
    hooks: after('void', ({ account }, _, decision) => ({ ...decision, ...(account && { account }) })),
  },
  {
    name: 'void keeps the slot',
    profile: 'hang-ups',
    hooks: after('void', ({ keys }, _, decision) => ({ ...decision, keys: [...keys.values()] })),
  },
  {
    name: 'a checkpoint stores nothing',
    profile: 'kill',
    hooks: after('checkpoint', ({ hold }, _, decision) => ({
      ...decision,
      ...(hold && decision.hold && { hold: { ...decision.hold, metered: hold.metered } }),
    })),
  },
  {
    name: 'a checkpoint forgets that content was sent',
    profile: 'kill',
    hooks: after('checkpoint', (_, __, decision) => ({
      ...decision,
      ...(decision.hold && { hold: { ...decision.hold, metered: { ...decision.hold.metered, started: false } } }),
    })),
  },
  {
    name: 'credit adds the whole loan again',
    profile: 'top-ups',
    hooks: after('credit', (records, command, decision) =>
      command.type === 'credit' && records.account && decision.account
        ? {
            ...decision,
            account: {
              ...decision.account,
              purses: records.account.purses.map((purse) => ({
                ...purse,
                available: purse.available + (command.purses.find(({ id }) => id === purse.id)?.lent ?? 0n),
              })),
            },
          }
        : decision,
    ),
  },
  {
    name: 'finalise keeps the record',
    profile: 'calm',
    hooks: after('finalise', (_, __, decision) => without(decision, 'dropHold')),
  },
  {
    name: 'the flush charges a resent record again',
    profile: 'lost answers',
    hooks: withBooks((books) => ({
      flush: async (records) =>
        books.flush(
          records.map((record, at) => ({
            ...record,
            id: record.id.replace(/^.{2}/, String(10 + (((sendings += 1) + at) % 90))),
          })),
        ),
    })),
  },
  {
    name: 'the flush forgets a batch',
    profile: 'calm',
    hooks: withBooks((books) => ({
      flush: async (records) =>
        records.length > 1 ? records.map(({ id, charge }) => ({ id, total: charge })) : books.flush(records),
    })),
  },
  {
    name: 'a failed flush is taken for done',
    profile: 'outage',
    hooks: withBooks((books) => ({
      flush: async (records) =>
        books
          .flush(records.slice(0, Math.ceil(records.length / 2)))
          .then(() => records.map(({ id, charge }) => ({ id, total: charge }))),
    })),
  },
  {
    name: 'a closed lease returns what was spent',
    profile: 'kill',
    hooks: withBooks((books) => ({ closeLeases: async (spender) => returnAll(books, spender) })),
  },
  {
    name: 'a loan is lent twice',
    profile: 'calm',
    hooks: withBooks((books) => ({
      lend: async (request) => books.lend(request).then((lease) => ({ ...lease, lent: lease.lent * 2n })),
    })),
  },
  {
    name: 'a hold is not journalled',
    profile: 'kill',
    hooks: { journal: (journal) => ({ ...journal, append: () => {} }) },
  },
  {
    name: 'a settled record leaves the journal at once',
    profile: 'kill and outage',
    hooks: {
      journal: (journal) => ({
        ...journal,
        append: (hold) => (hold.state === 'held' ? journal.append(hold) : journal.drop(hold.id)),
      }),
    },
  },
  { name: 'what a dead process left is not read', profile: 'kill', hooks: { skipsRecovery: true } },
  { name: 'a hang-up costs nothing', profile: 'hang-ups', hooks: { policies: { clientAbort: 'void' } } },
  {
    name: 'tokens are counted twice',
    profile: 'hang-ups',
    hooks: {
      tokenizer: {
        name: 'twice',
        count: (text) => Promise.resolve(2 * countTokens(text)),
        close: () => Promise.resolve(),
      },
    },
  },
  {
    name: 'a reaper that charges nothing leaves no tombstone',
    profile: 'replicas: pause',
    hooks: withBooks((books) => ({
      flush: async (records) => {
        const kept = records.filter(({ kind, charge }) => kind !== 'reap' || charge > 0n)
        const left = records.filter((record) => !kept.includes(record))
        return [...(await books.flush(kept)), ...left.map(({ id }) => ({ id, total: 0n }))]
      },
    })),
  },
  {
    name: 'a checkpoint of an ended hold is taken for good',
    profile: 'replicas: pause',
    hooks: withShared((shared) => ({
      async run(command) {
        const reply = await shared.run(command)
        if (command.type !== 'checkpoint' || reply.code === 'epoch') return reply
        return { code: 'ok' } as typeof reply
      },
    })),
  },
  {
    name: 'finalise forgets what the books have charged beyond',
    profile: 'replicas: Redis outage',
    hooks: after('finalise', ({ account, keys }, _, decision) => ({
      ...decision,
      ...(account && { account }),
      keys: [...keys.values()],
    })),
  },
  {
    name: 'frozen loans go back at once',
    profile: 'replicas: Redis wiped',
    hooks: withBooks((books) => ({
      closeFrozen: async () => {
        const { leases } = books as Books & { leases: readonly { spender: string; state: string }[] }
        const frozen = new Set(leases.filter(({ state }) => state === 'frozen').map(({ spender }) => spender))
        for (const spender of frozen) await books.closeLeases(spender)
      },
    })),
  },
  {
    name: 'a heartbeat owns up to nothing',
    profile: 'replicas: Redis wiped',
    hooks: withBooks((books) => ({ beat: (beat) => books.beat({ ...beat, outstanding: new Map() }) })),
  },
  {
    name: 'loans of a gateway of its own never go back',
    profile: 'replicas: Redis outage',
    hooks: { keepsOwnLoans: true },
  },
  {
    name: 'a Redis that lost data goes on under its epoch',
    profile: 'replicas: Redis rolled back',
    hooks: { redis: { staysSame: true } },
  },
  {
    name: 'a new epoch keeps what the old one had',
    profile: 'replicas: Redis killed',
    hooks: { redis: { keepsRecords: true } },
  },
  {
    name: 'the prompt is free',
    profile: 'hang-ups',
    hooks: {
      tokenizer: {
        name: 'no prompt',
        count: (text) => Promise.resolve(text.startsWith('call ') ? 0 : countTokens(text)),
        close: () => Promise.resolve(),
      },
    },
  },
]

async function returnAll(books: Books, spender: string): Promise<void> {
  const { leases, purseRows } = books as Books & {
    leases: { spender: string; state: string; amount: bigint; consumed: bigint; purse: number }[]
    purseRows: Map<number, { free: bigint }>
  }
  for (const lease of leases) {
    if (lease.spender !== spender || lease.state !== 'frozen') continue
    const purse = purseRows.get(lease.purse)
    if (purse) purse.free += lease.amount
    lease.amount = lease.consumed
    lease.state = 'closed'
  }
}
