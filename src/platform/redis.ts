import { cellKeys, cellOf, cellOfSpender, spenderOfCell } from '../core/cell.ts'
import { GatewayError } from '../core/errors.ts'
import { LedgerAssertion } from '../ledger/engine/assert.ts'
import type { Command, OtherEpoch, ReplyTo } from '../ledger/engine/commands.ts'
import type { AccountRecord, KeyRecord } from '../ledger/engine/records.ts'
import type { Shared } from '../ports.ts'
import { claim } from './redis-claim.ts'
import { replyOf } from './redis-answers.ts'
import { callOf } from './redis-commands.ts'
import { lend, lendSlots } from './redis-lend.ts'
import { connectRedis } from './redis-connection.ts'
import { unpackAccount, unpackKey, unpackMark } from './redis-records.ts'
import {
  ask,
  defaultCommandMs,
  execute,
  type RedisSession,
  type RedisSharedOptions,
  runScript,
} from './redis-session.ts'

/**
 * The engine's records in Redis. Every method throws SharedUnavailable when Redis does not answer in time: what was
 * asked may have been done, and may be asked again.
 */
export interface RedisShared extends Shared {
  /** Servers that have not answered for a while, by name. */
  away(): readonly string[]
  close(): void
}

/** How long the start waits for Redis. Without it the gateway runs on, and every command says so. */
const startMs = 2_000
/** A server that was silent for less may only have been slow; calls wait for it meanwhile. */
const awayMs = 300

/** Opens the shared records in Redis. Resolves when it is there, or after a while without it. */
export async function openRedis(options: RedisSharedOptions): Promise<RedisShared> {
  const connection = connectRedis(options.address, options.commandMs ?? defaultCommandMs)
  const session: RedisSession = { options, connection, epochs: new Map(), silent: new Map(), cursor: 0 }
  await connection.ready(startMs)
  return {
    run: (command) => run(session, command),
    claim: (limit, hideMs) => claim(session, limit, hideMs),
    account: (accountId) => account(session, accountId),
    key: (accountId, keyId) => key(session, accountId, keyId),
    spenderOf: (accountId) => spenderOfCell(cellOf(accountId)),
    begin: (spender, epoch) => begin(session, spender, epoch),
    shares: (asks) => Promise.all(asks.map((one) => lend(session, one))),
    slots: (asks) => Promise.all(asks.map((one) => lendSlots(session, one))),
    reaches: (accountId) => isHeard(session, connection.nameOf(cellOf(accountId))),
    away: () => [...session.silent.keys()].filter((server) => !isHeard(session, server)),
    close: () => connection.close(),
  }
}

async function run<C extends Command>(session: RedisSession, command: C): Promise<ReplyTo<C> | OtherEpoch> {
  const cell = cellOf(command.accountId)
  try {
    const call = callOf(command, cell)
    const answer = await execute(session, cell, { call, epoch: epochOf(session, cell, command) })
    return answer[0] === 'epoch' ? { code: 'epoch', epoch: Number(answer[1]) } : replyOf(command, answer)
  } catch (caught) {
    if (!(caught instanceof LedgerAssertion)) throw caught
    session.options.onAssertion(caught, command.accountId)
    await breakAccount(session, command.accountId)
    throw new GatewayError('billing_unavailable', 'The account cannot be charged just now. Try again later.', {
      cause: caught,
    })
  }
}

/** The epoch that a command is meant for; undefined where nothing is known yet. */
function epochOf({ epochs }: RedisSession, cell: number, command: Command): number | undefined {
  return command.type === 'admit' || command.type === 'credit' ? command.epoch : epochs.get(cell)
}

/** A broken account stays stopped for this epoch, whatever the books say. */
async function breakAccount(session: RedisSession, accountId: number): Promise<void> {
  const cell = cellOf(accountId)
  const call = {
    script: 'stop',
    keys: [cellKeys.mark(cell), cellKeys.account(cell, accountId)],
    numbers: [2],
    texts: [],
  } as const
  await execute(session, cell, { call, epoch: session.epochs.get(cell) })
}

function isHeard({ silent, options }: RedisSession, server: string): boolean {
  const known = silent.get(server)
  return known === undefined || options.clock.elapsed() - known.sinceMs < awayMs
}

async function begin(session: RedisSession, spender: string, epoch: number): Promise<number> {
  const cell = cellOfSpender(spender)
  if (cell === undefined) throw new RangeError(`${spender} does not spend in Redis`)
  const call = { script: 'begin', keys: [cellKeys.mark(cell)], numbers: [], texts: [] } as const
  const answer = await ask(session, cell, ({ client, runId }) =>
    runScript(client, call, { runId, epoch, nowMs: undefined }),
  )
  const standing = Number(answer[0])
  session.epochs.set(cell, standing)
  return standing
}

async function recordOf(
  session: RedisSession,
  cell: number,
  name: string,
): Promise<{ bytes: Buffer; epoch: number } | undefined> {
  return ask(session, cell, async ({ client, runId }) => {
    const [mark, bytes] = await client.mgetBuffer(cellKeys.mark(cell), name)
    const standing = mark && unpackMark(mark)
    return bytes && standing?.runId === runId ? { bytes, epoch: standing.epoch } : undefined
  })
}

async function account(session: RedisSession, accountId: number): Promise<AccountRecord | undefined> {
  const cell = cellOf(accountId)
  const found = await recordOf(session, cell, cellKeys.account(cell, accountId))
  return found && unpackAccount(found.bytes, accountId, found.epoch)
}

async function key(session: RedisSession, accountId: number, keyId: number): Promise<KeyRecord | undefined> {
  const cell = cellOf(accountId)
  const found = await recordOf(session, cell, cellKeys.key(cell, keyId))
  return found && unpackKey(found.bytes, keyId, found.epoch)
}
