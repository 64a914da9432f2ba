import { SharedUnavailable } from '../../src/core/shared-unavailable.ts'
import { openLender } from '../../src/core/shared-limit.ts'
import { openSlotLender } from '../../src/core/shared-slots.ts'
import { LedgerAssertion } from '../../src/ledger/engine/assert.ts'
import type { Command, Decision, OtherEpoch, ReplyTo } from '../../src/ledger/engine/commands.ts'
import type { decide } from '../../src/ledger/engine/decide.ts'
import type { AccountRecord, HoldRecord, KeyRecord, Records } from '../../src/ledger/engine/records.ts'
import type { Shared } from '../../src/ports.ts'
import type { Owner, World } from './world.ts'

/** Cells of the simulation: few, so that accounts share one. */
const cells = 2
export const redisSpender = (accountId: number) => `redis:v${accountId % cells}`

/** A client gives a command up after this long, and takes a server that is silent for so long as away. */
const commandMs = 100
const awayMs = 300
const reconnectMs = 60
/** What a server that is failed over to may lack. */
const rollbackMs = 1_000

interface Snapshot {
  readonly atMs: number
  readonly marks: ReadonlyMap<string, Mark>
  readonly accounts: ReadonlyMap<number, AccountRecord>
  readonly keys: ReadonlyMap<number, KeyRecord>
  readonly holds: ReadonlyMap<string, HoldRecord>
}

interface Mark {
  readonly runId: number
  readonly epoch: number
}

/** A Redis with the engine in it: atomic, and at the mercy of whoever pulls its plug. */
export interface SimRedis {
  isDown: boolean
  /** Changes with every start. */
  readonly runId: number
  /** A new start: with all data, with what it had up to a second ago, or with none. */
  restart(what: 'kept' | 'rolled back' | 'wiped'): void
  /** Records that are there under an epoch that stands. */
  readonly holds: ReadonlyMap<string, HoldRecord>
  readonly accounts: ReadonlyMap<number, AccountRecord>
  readonly keys: ReadonlyMap<number, KeyRecord>
  /** Anything that stands for a cell. */
  standing(spender: string): number
  begin(spender: string, epoch: number): number
  run<C extends Command>(command: C, epoch: number): ReplyTo<C> | OtherEpoch
  claim(limit: number, hideMs: number): readonly HoldRecord[]
  /** Keeps what a rollback may bring back. */
  remember(): void
}

/** Bugs of the server's side of the protocol. */
export interface RedisBugs {
  /** A new start is not told from a going on. */
  readonly staysSame?: true
  /** A new epoch begins with the records of the old one. */
  readonly keepsRecords?: true
}

export function simRedis(world: World, engine: typeof decide, bugs: RedisBugs = {}): SimRedis {
  let runId = 1
  let marks = new Map<string, Mark>()
  let accounts = new Map<number, AccountRecord>()
  let keys = new Map<number, KeyRecord>()
  let holds = new Map<string, HoldRecord>()
  let snapshots: Snapshot[] = []

  const standing = (spender: string) => {
    const mark = marks.get(spender)
    return mark?.runId === runId ? mark.epoch : 0
  }
  /** What was written under an older epoch is as good as gone. */
  const drop = (spender: string) => {
    for (const id of accounts.keys()) if (redisSpender(id) === spender) accounts.delete(id)
    for (const [id, { facts }] of holds) if (redisSpender(facts.accountId) === spender) holds.delete(id)
    // Keys have the number of their account here.
    for (const id of keys.keys()) if (redisSpender(id) === spender) keys.delete(id)
  }
  const renew = (spender: string, epoch: number) => {
    for (const [id, account] of accounts) if (redisSpender(id) === spender) accounts.set(id, { ...account, epoch })
  }
  const keep = (command: Command, { account, keys: changed, hold, dropHold }: Decision) => {
    if (account) accounts.set(account.id, account)
    for (const key of changed ?? []) keys.set(key.id, key)
    if (hold) holds.set(hold.id, hold)
    if (dropHold && 'id' in command) holds.delete(command.id)
  }
  const recordsOf = (command: Command): Records => {
    const account = accounts.get(command.accountId)
    const hold = 'id' in command ? holds.get(command.id) : undefined
    const ids =
      command.type === 'admit'
        ? command.keys.map(({ id }) => id)
        : command.type === 'load_key'
          ? [command.key.id]
          : (hold?.facts.keyIds ?? [])
    const known = new Map(ids.flatMap((id) => (keys.has(id) ? [[id, keys.get(id)!] as const] : [])))
    return { ...(account && { account }), keys: known, ...(hold && { hold }) }
  }
  return {
    isDown: false,
    get runId() {
      return runId
    },
    get holds() {
      return holds
    },
    get accounts() {
      return accounts
    },
    get keys() {
      return keys
    },
    standing,
    restart(what) {
      if (!bugs.staysSame) runId++
      const back = what === 'rolled back' ? snapshots.find(({ atMs }) => atMs >= world.nowMs - rollbackMs) : undefined
      if (what === 'wiped' || back) {
        marks = new Map(back?.marks)
        accounts = new Map(back?.accounts)
        keys = new Map(back?.keys)
        holds = new Map(back?.holds)
      }
      snapshots = []
    },
    begin(spender, epoch) {
      const mark = marks.get(spender)
      if (mark && epoch <= mark.epoch) return standing(spender)
      if (epoch === 0) return 0
      marks.set(spender, { runId, epoch })
      if (bugs.keepsRecords) renew(spender, epoch)
      else drop(spender)
      return epoch
    },
    run(command, epoch) {
      const stands = standing(redisSpender(command.accountId))
      if (stands === 0 || stands !== epoch) return { code: 'epoch', epoch: stands }
      const decision = engine(recordsOf(command), command, world.nowMs)
      keep(command, decision)
      return decision.reply
    },
    claim(limit, hideMs) {
      const due = [...holds.values()].filter(
        ({ dueMs, facts }) => dueMs <= world.nowMs && standing(redisSpender(facts.accountId)) > 0,
      )
      const taken = due.slice(0, limit)
      for (const hold of taken) holds.set(hold.id, { ...hold, dueMs: world.nowMs + hideMs })
      return taken
    },
    remember() {
      snapshots = snapshots.filter(({ atMs }) => atMs >= world.nowMs - rollbackMs)
      snapshots.push({
        atMs: world.nowMs,
        marks: new Map(marks),
        accounts: new Map(accounts),
        keys: new Map(keys),
        holds: new Map(holds),
      })
    },
  }
}

/** The network between one replica and Redis. */
export interface Link {
  /** Commands, or their answers, do not get through before this moment. */
  cutUntilMs: number
  /** Which way it is cut: commands that do not arrive, or answers that do not come back. */
  cuts: 'commands' | 'answers'
  /** Shares of the messages that are lost, arrive twice, or are slow. */
  readonly lost: number
  readonly twice: number
  readonly slow: number
}

export interface SimSharedOptions {
  readonly server: SimRedis
  readonly link: Link
  readonly onAssertion: (assertion: LedgerAssertion) => void
}

/** What a replica speaks to Redis with: it gives up, forgets nothing, and knows which epochs it was told. */
export function simShared(world: World, owner: Owner, { server, link, onAssertion }: SimSharedOptions): Shared {
  const { random } = world
  const epochs = new Map<string, number>()
  let runId: number | undefined = server.runId
  let silentSinceMs: number | undefined

  const delay = () => (random.chance(link.slow) ? random.whole(20, 300) : random.whole(0, 2))
  const isCut = (way: Link['cuts']) => random.chance(link.lost) || (link.cutUntilMs > world.nowMs && link.cuts === way)

  /** A rule that is broken changes nothing, and is told. */
  function tried<T>(question: () => T): T | LedgerAssertion {
    try {
      return question()
    } catch (error) {
      if (!(error instanceof LedgerAssertion)) throw error
      onAssertion(error)
      return error
    }
  }
  function heard(): void {
    silentSinceMs = undefined
  }
  function missed(why: string): SharedUnavailable {
    silentSinceMs ??= world.nowMs
    return new SharedUnavailable(new Error(why))
  }
  /** The connection of a server that was started anew is gone with what was on it. */
  function reconnect(): void {
    runId = undefined
    world.after(
      reconnectMs,
      () => {
        if (server.isDown) reconnect()
        else runId = server.runId
      },
      owner,
    )
  }
  function ask<T>(question: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const sent = runId
      if (sent === undefined) return reject(missed('no connection'))
      let isOver = false
      const give = (work: () => void) => {
        if (isOver) return
        isOver = true
        stop()
        work()
      }
      const stop = world.after(commandMs, () => give(() => reject(missed('no answer'))), owner)
      const broken = () =>
        give(() => {
          if (runId === sent) reconnect()
          reject(missed('the connection broke'))
        })
      const arrive = () => {
        if (server.isDown || server.runId !== sent) return world.after(delay(), broken, owner)
        const answer = tried(question)
        if (answer instanceof LedgerAssertion) return give(() => reject(answer))
        if (isCut('answers')) return undefined
        return world.after(
          delay(),
          () =>
            give(() => {
              heard()
              resolve(answer)
            }),
          owner,
        )
      }
      if (isCut('commands')) return undefined
      world.after(delay(), arrive)
      if (random.chance(link.twice))
        world.after(
          delay() + random.whole(0, 1_000),
          () => void (server.isDown || server.runId !== sent || tried(question)),
        )
      return undefined
    })
  }
  const [lender, slots] = [openLender(), openSlotLender()]
  return {
    async run(command) {
      const spender = redisSpender(command.accountId)
      const own = command.type === 'admit' || command.type === 'credit' ? command.epoch : epochs.get(spender)
      const answer = await ask(() => server.run(command, own ?? server.standing(spender)))
      if (answer.code === 'epoch' && 'epoch' in answer) epochs.set(spender, answer.epoch)
      else if (own !== undefined && own > (epochs.get(spender) ?? 0)) epochs.set(spender, own)
      return answer
    },
    claim: async (limit, hideMs) => ({ code: 'ok', holds: await ask(() => server.claim(limit, hideMs)) }),
    account: (id) => ask(() => (server.standing(redisSpender(id)) > 0 ? server.accounts.get(id) : undefined)),
    key: (accountId, id) => ask(() => (server.standing(redisSpender(accountId)) > 0 ? server.keys.get(id) : undefined)),
    spenderOf: redisSpender,
    async begin(spender, epoch) {
      const stands = await ask(() => server.begin(spender, epoch))
      epochs.set(spender, stands)
      return stands
    },
    shares: (asks) => ask(() => asks.map((each) => lender.lend(each, world.nowMs))),
    slots: (asks) => ask(() => asks.map((each) => slots.lend(each, world.nowMs))),
    reaches: () => silentSinceMs === undefined || world.nowMs - silentSinceMs < awayMs,
  }
}
