import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Cache } from '../../src/ports.ts'

export interface OpenCache {
  readonly cache: Cache
  close(): Promise<void> | void
}

const hourMs = 3_600_000
const name = (): string => randomBytes(32).toString('hex')

/** What every cache does. */
export function cacheContract(kind: string, open: () => Promise<OpenCache>): void {
  describe(kind, () => {
    let opened: OpenCache
    beforeAll(async () => {
      opened = await open()
    }, 60_000)
    afterAll(() => opened?.close())

    test('has nothing under a name that nobody has used', async () => {
      expect(await opened.cache.get(name())).toBeUndefined()
    })

    test('gives back the bytes that were kept, whatever they are', async () => {
      const [one, bytes] = [name(), Uint8Array.from(randomBytes(70_000))]
      await opened.cache.set(one, bytes, hourMs)
      expect(Uint8Array.from((await opened.cache.get(one)) ?? [])).toEqual(bytes)
    })

    test('keeps the latest of two', async () => {
      const one = name()
      await opened.cache.set(one, Uint8Array.of(1), hourMs)
      await opened.cache.set(one, Uint8Array.of(2, 0, 255), hourMs)
      expect([...((await opened.cache.get(one)) ?? [])]).toEqual([2, 0, 255])
    })

    test('forgets what has had its time', async () => {
      const one = name()
      await opened.cache.set(one, Uint8Array.of(1), 20)
      await wait(25)
      await vi.waitFor(async () => expect(await opened.cache.get(one)).toBeUndefined(), { timeout: 5_000 })
    })
  })
}
