import { connect, createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { retrySeconds, soleGateway, type SoleEvents } from '../../src/platform/postgres.ts'
import { freePort, postgresPrograms, startPostgres, type RealPostgres } from '../db/real-postgres.ts'

const lock = '7460100'
const isTaken = 'Another gateway is running on this database'

/** What a gateway is told, in its order. */
function told() {
  const events: string[] = []
  const waiting = new Set<() => void>()
  const tell = (event: string) => () => {
    events.push(event)
    for (const look of waiting) look()
  }
  return {
    events,
    handlers: { onLost: tell('lost'), onRegained: tell('regained'), onGone: tell('gone') } satisfies SoleEvents,
    /** Resolves once this many were told. */
    async count(wanted: number): Promise<readonly string[]> {
      while (events.length < wanted) await new Promise<void>((look) => waiting.add(look))
      return events
    },
  }
}

async function withClient<T>(url: string, work: (client: postgres.Sql) => Promise<T>): Promise<T> {
  const client = postgres(url, { max: 1 })
  try {
    return await work(client)
  } finally {
    await client.end({ timeout: 1 })
  }
}

const breakLock = (url: string) =>
  withClient(url, (client) =>
    client.unsafe(
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()",
    ),
  )

/** A way to the server that can break on the gateway's side alone: the server hears nothing of it. */
async function openWay(url: string) {
  const { hostname, port } = new URL(url)
  const near: Socket[] = []
  const far: Socket[] = []
  const way = createServer((socket) => {
    const server = connect(Number(port), hostname)
    near.push(socket.on('error', () => {}))
    far.push(server.on('error', () => {}))
    socket.pipe(server, { end: false })
    server.pipe(socket)
  })
  const at = new URL(url)
  at.port = `${await freePort()}`
  way.listen(Number(at.port), '127.0.0.1')
  await once(way, 'listening')
  return {
    url: at.href,
    cut: () => near.splice(0).forEach((socket) => socket.destroy()),
    close() {
      for (const socket of [...near, ...far]) socket.destroy()
      way.close()
    },
  }
}

describe.skipIf(!postgresPrograms)('the right to be the only gateway of a database', () => {
  let server: RealPostgres
  beforeAll(async () => {
    server = await startPostgres(postgresPrograms ?? '')
  }, 120_000)
  afterAll(() => server?.stop())

  test('is one gateway’s at a time', async () => {
    const url = await server.create()
    const { handlers, events } = told()
    const sole = await soleGateway(url, handlers)
    await expect(soleGateway(url, handlers)).rejects.toThrow(isTaken)
    await sole.release()
    const next = await soleGateway(url, handlers)
    await next.release()
    expect(events).toEqual([])
  })

  test('is refused where the address is wrong', async () => {
    const url = new URL(await server.create())
    url.port = '1'
    await expect(soleGateway(url.href, told().handlers)).rejects.toThrow('The database of DATABASE_URL cannot be used')
  })

  test('comes back when its connection breaks, each time', async () => {
    const url = await server.create()
    const { handlers, count } = told()
    const sole = await soleGateway(url, handlers)
    await breakLock(url)
    expect(await count(2)).toEqual(['lost', 'regained'])
    await expect(soleGateway(url, told().handlers)).rejects.toThrow(isTaken)
    await breakLock(url)
    expect(await count(4)).toEqual(['lost', 'regained', 'lost', 'regained'])
    await sole.release()
  })

  test('comes back when the server restarts', async () => {
    const url = await server.create()
    const { handlers, count } = told()
    const sole = await soleGateway(url, handlers)
    await server.crash()
    expect(await count(1)).toEqual(['lost'])
    await server.restart()
    expect(await count(2)).toEqual(['lost', 'regained'])
    await expect(soleGateway(url, told().handlers)).rejects.toThrow(isTaken)
    await sole.release()
  })

  test('comes back from a connection of which the server has not heard that it broke', async () => {
    const url = await server.create()
    const way = await openWay(url)
    const { handlers, count } = told()
    const sole = await soleGateway(way.url, handlers)
    way.cut()
    expect(await count(2)).toEqual(['lost', 'regained'])
    await sole.release()
    way.close()
  })

  test('is gone when another gateway has it meanwhile', async () => {
    const url = await server.create()
    const { handlers, count } = told()
    const sole = await soleGateway(url, handlers)
    await withClient(url, async (other) => {
      const pid = (await other.unsafe<{ pid: number }[]>('SELECT pg_backend_pid() AS pid'))[0]?.pid
      const waiting = other.unsafe(`SELECT pg_advisory_lock(${lock})`)
      void waiting.execute()
      const isWaiting = 'SELECT pid FROM pg_locks WHERE NOT granted AND pid = $1::int'
      await withClient(url, async (client) => {
        while ((await client.unsafe(isWaiting, [pid ?? 0])).length === 0) await wait(10)
      })
      await breakLock(url)
      await waiting
      expect(await count(2)).toEqual(['lost', 'gone'])
    })
    await sole.release()
  })

  test('is gone when the server stays away', async () => {
    const url = await server.create()
    const { handlers, count } = told()
    const sole = await soleGateway(url, handlers, 300)
    await server.crash()
    expect(await count(2)).toEqual(['lost', 'gone'])
    await sole.release()
    await server.restart()
  })

  test('that is given up while it is lost is not told of again', async () => {
    const url = await server.create()
    const { handlers, count, events } = told()
    const sole = await soleGateway(url, handlers)
    await server.crash()
    await count(1)
    await sole.release()
    await server.restart()
    expect(events).toEqual(['lost'])
    const next = await soleGateway(url, told().handlers)
    await next.release()
  })
})

test('however often a connection failed, the next try comes within half a second', () => {
  expect([0, 1, 4, 6, 100, 10_000].map(retrySeconds)).toEqual([0.01, 0.02, 0.16, 0.5, 0.5, 0.5])
})
