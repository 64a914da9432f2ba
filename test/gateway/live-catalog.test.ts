import { describe, expect, test } from 'vitest'
import type { Catalog } from '../../src/core/catalog.ts'
import { openCatalog } from '../../src/gateway/live-catalog.ts'

/** Loads that end when the test says so, each giving a catalog of its own. */
function loads() {
  const begun: PromiseWithResolvers<Catalog>[] = []
  return {
    begun,
    load: () => {
      const one = Promise.withResolvers<Catalog>()
      begun.push(one)
      return one.promise
    },
  }
}

const catalog = (): Catalog => ({ models: new Map(), vendors: new Map() })
/** Everything that waits for nothing but promises has run. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

async function opened() {
  const { begun, load } = loads()
  const [first, opening] = [catalog(), openCatalog(load)]
  begun[0]?.resolve(first)
  return { begun, first, live: await opening }
}

describe('the live catalog', () => {
  test('is the first one until another was loaded', async () => {
    const { begun, first, live } = await opened()
    const reloading = live.reload()
    await settled()
    const during = live.current()
    const second = catalog()
    begun[1]?.resolve(second)
    await reloading
    expect([during === first, live.current() === second]).toEqual([true, true])
  })

  test('is loaded anew for those who ask while a load is under way, once for all of them', async () => {
    const { begun, live } = await opened()
    const asking = [live.reload()]
    await settled()
    asking.push(live.reload(), live.reload(), live.reload())
    await settled()
    const underWay = begun.length
    begun[1]?.resolve(catalog())
    await settled()
    const newest = catalog()
    begun[2]?.resolve(newest)
    await Promise.all(asking)
    expect([underWay, begun.length, live.current() === newest]).toEqual([2, 3, true])
  })

  test('stays when it cannot be loaded, and is loaded by the next who asks', async () => {
    const { begun, first, live } = await opened()
    const failing = live.reload()
    await settled()
    const after = live.reload()
    begun[1]?.reject(new Error('the database is away'))
    await expect(failing).rejects.toThrow('the database is away')
    const kept = live.current()
    const second = catalog()
    await settled()
    begun[2]?.resolve(second)
    await after
    expect([kept === first, live.current() === second]).toEqual([true, true])
  })

  test('is not opened without a first one', async () => {
    await expect(openCatalog(() => Promise.reject(new Error('the database is away')))).rejects.toThrow(
      'the database is away',
    )
  })
})
