import { GatewayError } from '../../src/core/errors.ts'
import { LedgerAssertion } from '../../src/ledger/engine/assert.ts'
import type { Command, LoadKey, OtherEpoch, ReplyTo } from '../../src/ledger/engine/commands.ts'
import { decide } from '../../src/ledger/engine/decide.ts'
import type { AccountRecord, HoldRecord, KeyRecord, WindowRecord } from '../../src/ledger/engine/records.ts'

/** The engine over Maps, with the epochs of a store that outlives them. What Redis does is compared with it. */
export interface Model {
  nowMs: number
  epoch: number
  readonly accounts: Map<number, AccountRecord>
  readonly keys: Map<number, KeyRecord>
  readonly holds: Map<string, HoldRecord>
  /** Holds of older epochs that nobody has brought into this one. */
  readonly old: Map<string, HoldRecord>
  /** Throws GatewayError where a rule is broken; the account is stopped then. */
  run(command: Command): ReplyTo<Command> | OtherEpoch
  begin(epoch: number): void
  claim(hideMs: number): readonly HoldRecord[]
}

export function createModel(nowMs: number): Model {
  const broken = new Set<number>()
  const oldKeys = new Map<number, KeyRecord>()
  /** Moments until which claimed holds are hidden. */
  const hidden = new Map<string, number>()

  function apply(command: Command): ReplyTo<Command> {
    const hold = 'id' in command ? model.holds.get(command.id) : undefined
    const account = model.accounts.get(command.accountId)
    const decision = decide(
      { ...(account && { account }), keys: model.keys, ...(hold && { hold }) },
      command,
      model.nowMs,
    )
    if (decision.account) model.accounts.set(decision.account.id, decision.account)
    for (const key of decision.keys ?? []) model.keys.set(key.id, key)
    if (decision.hold) {
      if (decision.hold.dueMs !== hold?.dueMs) hidden.delete(decision.hold.id)
      model.holds.set(decision.hold.id, decision.hold)
      model.old.delete(decision.hold.id)
    }
    if (decision.dropHold && 'id' in command) model.holds.delete(command.id)
    return decision.reply
  }
  /** What an older epoch has counted by time goes on counting. */
  function load(command: LoadKey): ReplyTo<Command> {
    const meters = model.keys.has(command.key.id) ? undefined : oldKeys.get(command.key.id)?.meters
    const reply = apply(rebuilt(command, oldKeys, model.keys))
    const key = model.keys.get(command.key.id)
    if (key && meters) model.keys.set(key.id, { ...key, meters })
    return reply
  }
  const model: Model = {
    nowMs,
    epoch: 1,
    accounts: new Map(),
    keys: new Map(),
    holds: new Map(),
    old: new Map(),
    run(command) {
      if ('epoch' in command && command.epoch !== model.epoch) return { code: 'epoch', epoch: model.epoch }
      try {
        if (command.type === 'load_key') return load(command)
        if (command.type === 'credit' && broken.has(command.accountId)) return apply({ ...command, status: 'stopped' })
        return apply(command)
      } catch (caught) {
        if (!(caught instanceof LedgerAssertion)) throw caught
        const account = model.accounts.get(command.accountId)
        broken.add(command.accountId)
        const { epoch } = model
        model.accounts.set(command.accountId, {
          ...(account ?? { id: command.accountId, epoch, purses: [] }),
          status: 'stopped',
        })
        throw new GatewayError('billing_unavailable', 'broken', { cause: caught })
      }
    },
    begin(epoch) {
      model.epoch = epoch
      for (const [id, hold] of model.holds) model.old.set(id, hold)
      for (const [id, key] of model.keys) oldKeys.set(id, key)
      for (const map of [model.holds, model.keys, model.accounts]) map.clear()
      broken.clear()
    },
    claim(hideMs) {
      const dueOf = (hold: HoldRecord) => hidden.get(hold.id) ?? hold.dueMs
      for (const [id, hold] of model.old) {
        if (dueOf(hold) > model.nowMs) continue
        const { own: _, ...rest } = hold
        model.holds.set(id, { ...rest, recovered: true })
        model.old.delete(id)
      }
      const due = [...model.holds.values()].filter((hold) => dueOf(hold) <= model.nowMs)
      for (const { id } of due) hidden.set(id, model.nowMs + hideMs)
      return due
    },
  }
  return model
}

/** A key's record of an older epoch is not loaded; but what it has counted is not forgotten when it is. */
function rebuilt(command: LoadKey, oldKeys: Map<number, KeyRecord>, keys: Map<number, KeyRecord>): LoadKey {
  const old = oldKeys.get(command.key.id)
  if (!old || keys.has(old.id)) return command
  oldKeys.delete(old.id)
  const { key } = command
  const windows = old.windows.map((window) => further(window, key.windows))
  const added = key.windows.filter(({ window }) => !old.windows.some((each) => each.window === window))
  const { version, status } = key.version > old.version ? key : old
  const { requestsLeft, requestsAtMs } = old
  const bucket = requestsLeft === undefined || requestsAtMs === undefined ? {} : { requestsLeft, requestsAtMs }
  return { ...command, key: { id: key.id, version, status, windows: [...windows, ...added], ...bucket } }
}

function further(before: WindowRecord, loaded: readonly WindowRecord[]): WindowRecord {
  const books = loaded.find(({ window }) => window === before.window)
  if (!books || books.period < before.period) return before
  return books.period > before.period || books.spent > before.spent ? books : before
}
