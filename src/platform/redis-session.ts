import { createHash } from 'node:crypto'
import { spenderOfCell } from '../core/cell.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import { LedgerAssertion } from '../ledger/engine/assert.ts'
import type { Clock, Log } from '../ports.ts'
import { afterAwake } from './awake-timer.ts'
import type { Answer, ScriptCall } from './redis-commands.ts'
import { writeTogether, type RedisAddress, type RedisConnection, type RedisServer } from './redis-connection.ts'
import { packMark, packNumbers } from './redis-records.ts'
import { type ScriptName, scriptTexts } from './redis-scripts.ts'

export interface RedisSharedOptions {
  readonly address: RedisAddress
  readonly clock: Clock
  readonly log: Log
  /** An account was stopped because a rule of the ledger did not hold for it. */
  readonly onAssertion: (assertion: LedgerAssertion, accountId: number) => void
  /** Another epoch than the one known here stands for a spender: what it had in flight must be asserted. */
  readonly onEpoch?: (spender: string, epoch: number) => void
  /** A command that is not answered by then is given up; it may have run. 100 where it is not said. */
  readonly commandMs?: number
  /** Periods and deadlines go by this clock and not by the servers' own. For tests. */
  readonly testClock?: Pick<Clock, 'now'>
}

/** What this process knows of the shared records. */
export interface RedisSession {
  readonly options: RedisSharedOptions
  readonly connection: RedisConnection
  /** The epoch of each cell, as it was begun or last told. */
  readonly epochs: Map<number, number>
  /** Since when each server that does not answer has not, and when its connection was last made anew. */
  readonly silent: Map<string, { readonly sinceMs: number; readonly renewedMs: number }>
  /** The cell at which the next claim starts. */
  cursor: number
}

/** The wait for Redis that a caller may notice. */
export const defaultCommandMs = 100
/** A connection on which nothing came back for this long is made anew. */
const stuckMs = 1_000

const hashes = Object.fromEntries(
  Object.entries(scriptTexts).map(([name, text]) => [name, createHash('sha1').update(text).digest('hex')]),
) as Readonly<Record<ScriptName, string>>

/** Runs a script under an epoch. Where none is known yet, the one that stands is learnt first. */
export async function execute(
  session: RedisSession,
  cell: number,
  { call, epoch }: { call: ScriptCall; epoch: number | undefined },
): Promise<Answer> {
  const answer = await evaluate(session, cell, { call, epoch: epoch ?? 0 })
  if (answer[0] !== 'epoch') {
    if (epoch !== undefined) learn(session, cell, epoch)
    return answer
  }
  const standing = Number(answer[1])
  if (epoch === undefined && standing > 0) {
    learn(session, cell, standing)
    return execute(session, cell, { call, epoch: standing })
  }
  tell(session, cell, standing)
  return answer
}

/** Epochs only grow: an answer that comes late does not bring an older one back. */
export function learn({ epochs }: RedisSession, cell: number, epoch: number): void {
  if (epoch > (epochs.get(cell) ?? 0)) epochs.set(cell, epoch)
}

/** Whoever hears of another epoch first may not be the one who has to act on it, so the owner is told apart. */
function tell({ epochs, options }: RedisSession, cell: number, standing: number): void {
  const isNews = epochs.get(cell) !== standing
  epochs.set(cell, standing)
  if (isNews) options.onEpoch?.(spenderOfCell(cell), standing)
}

async function evaluate(
  session: RedisSession,
  cell: number,
  { call, epoch }: { call: ScriptCall; epoch: number },
): Promise<Answer> {
  return ask(session, cell, async ({ client, runId }) => {
    const answer = await runScript(client, call, { runId, epoch, nowMs: session.options.testClock?.now() })
    // The server was started anew, or the cell has moved, since the run id was taken: not an epoch, only too early.
    const isMoved = answer[0] === 'epoch' && answer[1] === '0' && session.connection.serverOf(cell)?.runId !== runId
    if (isMoved) throw new Error('the server of the cell has changed')
    return answer
  })
}

/** What a script is run under. */
export interface ScriptHead {
  readonly runId: string
  readonly epoch: number
  /** Undefined: the server's own clock. */
  readonly nowMs: number | undefined
}

/** Keys and arguments as a script reads them: see `preamble` in redis-rules.ts. */
function wordsOf({ keys, numbers, texts }: ScriptCall, { runId, epoch, nowMs }: ScriptHead): (string | Buffer)[] {
  return [...keys, packMark({ epoch, runId }), packNumbers([epoch, nowMs ?? -1, ...numbers]), ...texts]
}

/** Runs a script. Its numbers come as decimal text. */
export async function runScript(client: RedisServer['client'], call: ScriptCall, head: ScriptHead): Promise<Answer> {
  const words = wordsOf(call, head)
  const answer = await loaded(call.script, {
    byHash: (hash) => client.evalsha(hash, call.keys.length, ...words) as Promise<unknown[]>,
    byText: (text) => client.eval(text, call.keys.length, ...words) as Promise<unknown[]>,
  })
  return answer.map(String)
}

/** The same for a script that returns records: all of its answer as bytes. */
export function runForRecords(client: RedisServer['client'], call: ScriptCall, head: ScriptHead): Promise<Buffer[]> {
  const words = [call.keys.length, ...wordsOf(call, head)]
  const send = (name: string, source: string) => client.callBuffer(name, source, ...words) as Promise<Buffer[]>
  return loaded(call.script, { byHash: (hash) => send('evalsha', hash), byText: (text) => send('eval', text) })
}

interface Ways<T> {
  byHash(hash: string): Promise<T>
  byText(text: string): Promise<T>
}

async function loaded<T>(script: ScriptName, { byHash, byText }: Ways<T>): Promise<T> {
  try {
    return await byHash(hashes[script])
  } catch (error) {
    if (!isCode(error, 'NOSCRIPT')) throw error
    // The server was started anew or its scripts were flushed; it keeps the text from now on.
    return byText(scriptTexts[script])
  }
}

function isCode(error: unknown, code: string): error is Error {
  return error instanceof Error && error.message.startsWith(code)
}

/** Asks the server of a cell, within the time limit. Every failure but a broken rule is SharedUnavailable. */
export async function ask<T>(
  session: RedisSession,
  cell: number,
  question: (server: RedisServer) => Promise<T>,
): Promise<T> {
  const { connection } = session
  try {
    const server = connection.serverOf(cell)
    if (!server) throw new Error('there is no connection')
    writeTogether(server.client)
    const answer = await inTime(question(server), session.options.commandMs ?? defaultCommandMs)
    heard(session, connection.nameOf(cell))
    return answer
  } catch (error) {
    if (isCode(error, 'BROKEN')) throw new LedgerAssertion(error.message.replace(/^BROKEN | script: .*$/gs, ''))
    missed(session, cell, error)
    throw new SharedUnavailable(error)
  }
}

/**
 * The client's own limit starts when it sends, which may be when an earlier batch was given up. A gateway that was busy
 * reads what came meanwhile before it finds Redis late: calls would go to loans and limits of its own for nothing.
 */
async function inTime<T>(answer: Promise<T>, limitMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = afterAwake(limitMs, () => reject(new Error(`no answer in ${limitMs} ms`)), { holds: true })
  try {
    return await Promise.race([answer, late])
  } finally {
    timer.stop()
  }
}

function heard({ silent, options }: RedisSession, server: string): void {
  if (silent.delete(server)) options.log('redis_reachable', { server })
}

function missed({ silent, options, connection }: RedisSession, cell: number, error: unknown): void {
  const server = connection.nameOf(cell)
  const nowMs = options.clock.elapsed()
  const known = silent.get(server)
  connection.refresh(cell)
  if (known === undefined) {
    silent.set(server, { sinceMs: nowMs, renewedMs: nowMs })
    options.log('redis_unreachable', { server, error: String(error) })
  } else if (nowMs - known.renewedMs > stuckMs) {
    // Commands pile up on a connection that takes them and never answers.
    silent.set(server, { ...known, renewedMs: nowMs })
    connection.renew(cell)
  }
}
