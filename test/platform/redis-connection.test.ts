import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { connectRedis, type RedisConnection, writeTogether } from '../../src/platform/redis-connection.ts'
import { hasRedis, type RealRedis, startRedis } from '../support/real-redis.ts'

const patientMs = 10_000

describe.skipIf(!hasRedis)('what is sent to Redis', () => {
  let redis: RealRedis
  let connection: RedisConnection
  beforeAll(async () => {
    redis = await startRedis()
    connection = connectRedis({ url: redis.url }, patientMs)
    await connection.ready(patientMs)
  })
  afterAll(async () => {
    connection?.close()
    await redis?.stop()
  })

  function clientOf() {
    const server = connection.serverOf(0)
    if (!server) throw new Error('there is no connection')
    return server.client
  }

  test('in one turn of the loop goes out in one write', async () => {
    const client = clientOf()
    const writes = vi.spyOn(client.stream, '_writev')
    const answers = Array.from({ length: 20 }, (_, at) => {
      writeTogether(client)
      return client.echo(`${at}`)
    })
    expect(writes).not.toHaveBeenCalled()
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, (_, at) => `${at}`))
    expect(writes).toHaveBeenCalledTimes(1)
    writes.mockRestore()
  })

  test('in later turns is not held back', async () => {
    const client = clientOf()
    for (let turn = 0; turn < 3; turn++) {
      writeTogether(client)
      expect(await client.echo(`${turn}`)).toBe(`${turn}`)
      expect(client.stream.writableCorked).toBe(0)
    }
  })

  test('may be broken off with its connection', async () => {
    const client = clientOf()
    writeTogether(client)
    const lost = client.echo('lost')
    client.stream.destroy()
    await expect(lost).rejects.toThrow('max retries')
    await connection.ready(patientMs)
    writeTogether(clientOf())
    expect(await clientOf().echo('back')).toBe('back')
  })
})
