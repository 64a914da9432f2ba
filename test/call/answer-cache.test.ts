import { describe, expect, test } from 'vitest'
import { openAnswerCache } from '../../src/call/answer-cache.ts'
import { type CachedAnswer, packAnswer, unpackAnswer } from '../../src/call/cached-answer.ts'
import { memoryCache } from '../../src/platform/memory-cache.ts'
import type { Cache } from '../../src/ports.ts'
import { virtualClock } from '../vendors/virtual-clock.ts'

const startMs = 1_000_000
const hourMs = 3_600_000
const answer: CachedAnswer = {
  kind: 'stream',
  target: { vendor: 'fake', model: 'theirs', region: 'eu' },
  model: 'm',
  dropped: ['seed'],
  keptAtMs: startMs,
  events: [
    { name: '', data: Uint8Array.of(1, 10, 2) },
    { name: 'done', data: new Uint8Array(0) },
  ],
}

/** A cache that does as it is told, and counts how often it was asked. */
function cacheThat(get: () => Promise<Uint8Array | undefined>): Cache & { asked: number; kept: number } {
  return {
    kind: 'test',
    asked: 0,
    kept: 0,
    get() {
      this.asked += 1
      return get()
    },
    set() {
      this.kept += 1
      return Promise.resolve()
    },
  }
}

function opened(...far: readonly Cache[]) {
  const clock = virtualClock(startMs)
  const log: string[] = []
  const near = memoryCache(clock, { bytes: 1_000_000, entries: 100 })
  return { clock, log, cache: openAnswerCache({ clock, log: (event) => log.push(event), near, far }) }
}

describe('a kept answer', () => {
  test('is the same after it was packed', () => {
    expect(unpackAnswer(packAnswer(answer))).toEqual(answer)
  })

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['no line', new TextEncoder().encode('{"version":1}')],
    ['no JSON', new TextEncoder().encode('{\n')],
    ['another version', new TextEncoder().encode('{"version":2,"target":{},"sizes":[],"kind":"body","keptAtMs":1}\n')],
    ['too few bytes', packAnswer(answer).subarray(0, -1)],
    ['too many bytes', Uint8Array.of(...packAnswer(answer), 0)],
  ])('is none of %s', (_, bytes) => {
    expect(unpackAnswer(bytes)).toBeUndefined()
  })
})

describe('the caches', () => {
  test('are asked in their order, and the first that has it is the last', async () => {
    const [empty, full, beyond] = [undefined, packAnswer(answer), undefined].map((bytes) =>
      cacheThat(() => Promise.resolve(bytes)),
    )
    const { cache } = opened(empty!, full!, beyond!)
    expect(await cache.find('name', hourMs)).toEqual(answer)
    // From now on this process has it.
    expect(await cache.find('name', hourMs)).toEqual(answer)
    expect([empty!.asked, full!.asked, beyond!.asked]).toEqual([1, 1, 0])
  })

  test('give nothing that is older than it may be', async () => {
    const { cache, clock } = opened()
    await cache.keep('name', answer, hourMs)
    await clock.advance(59_999)
    expect(await cache.find('name', 60_000)).toEqual(answer)
    await clock.advance(1)
    expect(await cache.find('name', 60_000)).toBeUndefined()
    expect(await cache.find('name', hourMs)).toEqual(answer)
  })

  test('are waited for 50 ms, and one that is slower is left alone for a second', async () => {
    const slow = cacheThat(() => new Promise(() => {}))
    const { cache, clock, log } = opened(slow)
    let isOver = false
    const found = cache.find('name', hourMs).finally(() => (isOver = true))
    await clock.advance(49)
    expect(isOver).toBe(false)
    await clock.advance(1)
    expect(await found).toBeUndefined()
    expect(await cache.find('name', hourMs)).toBeUndefined()
    expect([slow.asked, log]).toEqual([1, ['cache_away']])
    await clock.advance(1_000)
    void cache.find('name', hourMs)
    await clock.advance(0)
    expect(slow.asked).toBe(2)
  })

  test('fail no call, and say so once until one is back', async () => {
    let isBroken = true
    const broken = cacheThat(() => (isBroken ? Promise.reject(new Error('gone')) : Promise.resolve(undefined)))
    const { cache, clock, log } = opened(broken)
    for (let round = 0; round < 3; round++) {
      expect(await cache.find('name', hourMs)).toBeUndefined()
      await clock.advance(1_000)
    }
    isBroken = false
    await cache.find('name', hourMs)
    expect([broken.asked, log]).toEqual([4, ['cache_away', 'cache_back']])
  })

  test('all keep what is kept', async () => {
    const far = [cacheThat(() => Promise.resolve(undefined)), cacheThat(() => Promise.resolve(undefined))]
    const { cache } = opened(...far)
    await cache.keep('name', answer, hourMs)
    expect(far.map(({ kept }) => kept)).toEqual([1, 1])
    expect(await cache.find('name', hourMs)).toEqual(answer)
  })
})

describe('identical calls', () => {
  test('follow the first until it lands, and then the next one leads', async () => {
    const { cache } = opened()
    const first = cache.board('name')
    const second = cache.board('name')
    const other = cache.board('another name')
    expect([first.leads, second.leads, other.leads]).toEqual([true, false, true])
    if (first.leads) first.land(answer)
    expect(second.leads ? undefined : await second.answer).toEqual(answer)
    expect(cache.board('name').leads).toBe(true)
  })

  test('do not wait for ever', async () => {
    const { cache, clock } = opened()
    cache.board('name')
    const second = cache.board('name')
    const waited = second.leads ? undefined : second.answer
    await clock.advance(60_000)
    expect(await waited).toBeUndefined()
  })
})
