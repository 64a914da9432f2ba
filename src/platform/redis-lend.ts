import { cellKeys, cellOfText } from '../core/cell.ts'
import { checkAsk, type Share, type ShareAsk, shareOf } from '../core/shared-limit.ts'
import { checkSlots, type SlotAsk, type SlotShare } from '../core/shared-slots.ts'
import { limitWindows } from '../core/rate-limit.ts'
import { limitCode } from './redis-meter-rules.ts'
import { ask, type RedisSession, runScript } from './redis-session.ts'

/** A record that nobody asks for goes after two of its windows, and not sooner than this. */
const leastKeptMs = 60_000

/** Asks the server of a limit for a share of it. */
export async function lend(session: RedisSession, asked: ShareAsk): Promise<Share> {
  checkAsk(asked)
  const { id, limit, replica, want, back, least = 1 } = asked
  const cell = cellOfText(id)
  const keptMs = Math.max(leastKeptMs, 2 * limitWindows[limit.window])
  const call = {
    script: 'lend',
    keys: [cellKeys.limit(cell, id)],
    numbers: [limitCode(limit), limit.limit, want, back, keptMs, least],
    texts: [replica],
  } as const
  const nowMs = session.options.testClock?.now()
  const answer = await ask(session, cell, ({ client, runId }) => runScript(client, call, { runId, epoch: 0, nowMs }))
  const [granted = 0, used = 0, rest = 0, atMs = 0, toldMs = 0] = answer.map(Number)
  const { of, window, algorithm } = limit
  return shareOf(
    { of, window, algorithm, limit: limit.limit, used, rest, atMs },
    { want, granted, least, nowMs: toldMs },
  )
}

/** Asks the server of a limit of calls at once for slots of it. */
export async function lendSlots(session: RedisSession, asked: SlotAsk): Promise<SlotShare> {
  checkSlots(asked)
  const { id, limit, replica, held, want } = asked
  const cell = cellOfText(id)
  const call = {
    script: 'slots',
    keys: [cellKeys.limit(cell, id)],
    numbers: [limit, held, want, leastKeptMs],
    texts: [replica],
  } as const
  const nowMs = session.options.testClock?.now()
  const answer = await ask(session, cell, ({ client, runId }) => runScript(client, call, { runId, epoch: 0, nowMs }))
  const [granted = 0, fair = 0, isWanted = 0] = answer.map(Number)
  return { granted, fair, isWanted: isWanted === 1 }
}
