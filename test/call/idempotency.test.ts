import { describe, expect, test } from 'vitest'
import { idempotencyKey, openIdempotency } from '../../src/call/idempotency.ts'
import { GatewayError } from '../../src/core/errors.ts'
import type { Client, Repeats } from '../../src/ports.ts'
import { virtualClock, type VirtualClock } from '../vendors/virtual-clock.ts'

const rules = { whileRunning: 'wait', waitMs: 60_000, keepHours: 24 } as const

interface Row {
  readonly owner: string
  readonly digest: string
  readonly answer: Uint8Array | undefined
  readonly untilMs: number
}

/** The store's rules over a Map, with a switch that breaks it. */
function mapRepeats(
  clock: VirtualClock,
): Repeats & { readonly rows: Map<string, Row>; fault: 'none' | 'broken' | 'silent' } {
  const rows = new Map<string, Row>()
  const live = (name: string): Row | undefined => {
    const row = rows.get(name)
    return row && row.untilMs > clock.elapsed() ? row : undefined
  }
  const store = {
    rows,
    fault: 'none' as 'none' | 'broken' | 'silent',
    begin: (name: string, { owner, digest, leaseMs }: { owner: string; digest: string; leaseMs: number }) =>
      answering(() => {
        const row = live(name)
        if (row?.answer) return { state: 'answered', digest: row.digest, answer: row.answer } as const
        if (row && row.owner !== owner) return { state: 'running', digest: row.digest } as const
        rows.set(name, { owner, digest, answer: undefined, untilMs: clock.elapsed() + leaseMs })
        return { state: 'yours' } as const
      }),
    extend: (name: string, owner: string, leaseMs: number) =>
      answering(() => {
        const row = live(name)
        if (row?.owner === owner) rows.set(name, { ...row, untilMs: clock.elapsed() + leaseMs })
      }),
    keep: (
      name: string,
      { owner, digest }: { owner: string; digest: string },
      { answer, ttlMs }: { answer: Uint8Array; ttlMs: number },
    ) => answering(() => void rows.set(name, { owner, digest, answer, untilMs: clock.elapsed() + ttlMs })),
    free: (name: string) => answering(() => void rows.delete(name)),
  }
  function answering<T>(work: () => T): Promise<T> {
    if (store.fault === 'broken') return Promise.reject(new Error('away'))
    return store.fault === 'silent' ? new Promise<never>(() => {}) : Promise.resolve(work())
  }
  return store
}

/** A caller, and what he was sent. */
function caller() {
  const gone = new Set<() => void>()
  const sent: (string | number)[] = []
  const text = (bytes?: Uint8Array): string => new TextDecoder().decode(bytes)
  const state = { gone: false }
  const client: Client = {
    header: () => undefined,
    body: () => Promise.resolve(new Uint8Array(0)),
    onGone: (run) => void gone.add(run),
    get gone() {
      return state.gone
    },
    open: (status, headers) => void sent.push(status, ...(headers['idempotent-replayed'] ? ['again'] : [])),
    write: (bytes) => sent.push(text(bytes)) > 0,
    onDrain() {},
    end: (bytes) => void sent.push(text(bytes)),
    destroy: () => void sent.push('destroyed'),
  }
  return {
    client,
    sent,
    leave() {
      state.gone = true
      for (const run of gone) run()
    },
  }
}

function scene() {
  const clock = virtualClock()
  const repeats = mapRepeats(clock)
  const log: string[] = []
  const gateway = () => openIdempotency({ repeats, rules, clock, log: (event) => log.push(event) })
  const call = (id: string, client: Client, digest = 'the same') => ({ id, name: 'name', digest, client })
  return { clock, repeats, log, gateway, call }
}

const answer = (client: Client): Promise<void> => {
  client.open(200, { 'x-request-id': 'first' })
  client.end(new TextEncoder().encode('hello'))
  return Promise.resolve()
}
const never = (): Promise<void> => Promise.reject(new Error('nobody asked for this'))

describe('a call that happens once', () => {
  test('keeps its name for as long as it runs', async () => {
    const { clock, gateway, call } = scene()
    const [one, two] = [caller(), caller()]
    const { promise: until, resolve: release } = Promise.withResolvers<void>()
    const first = gateway().once(call('one', one.client), (client) => until.then(() => answer(client)))
    await clock.advance(0)
    // In another gateway, so that it has to ask the store.
    const second = gateway().once(call('two', two.client), never)
    await clock.advance(55_000)
    expect(two.sent).toEqual([])
    release()
    await clock.advance(1_000)
    await Promise.all([first, second])
    expect([one.sent, two.sent]).toEqual([
      [200, 'hello'],
      [200, 'again', 'hello'],
    ])
  })

  test('is taken for dead once nothing was heard of its gateway for half a minute', async () => {
    const { clock, gateway, call, repeats } = scene()
    // What a gateway leaves behind that was killed just now.
    await repeats.begin('name', { owner: 'dead', digest: 'the same', leaseMs: 30_000 })
    const two = caller()
    const second = gateway().once(call('two', two.client), answer)
    await clock.advance(29_000)
    expect(two.sent).toEqual([])
    await clock.advance(1_500)
    await second
    expect(two.sent).toEqual([200, 'hello'])
  })

  test('is not waited for by one who has left', async () => {
    const { clock, gateway, call, repeats } = scene()
    await repeats.begin('name', { owner: 'other', digest: 'the same', leaseMs: 300_000 })
    const two = caller()
    const second = gateway().once(call('two', two.client), never)
    await clock.advance(100)
    two.leave()
    await clock.advance(1_000)
    await second
    expect(two.sent).toEqual([])
  })

  test('is waited for a minute', async () => {
    const { clock, gateway, call, repeats } = scene()
    await repeats.begin('name', { owner: 'other', digest: 'the same', leaseMs: 300_000 })
    const second = gateway()
      .once(call('two', caller().client), never)
      .catch((error: unknown) => error)
    await clock.advance(61_000)
    expect(await second).toMatchObject({ code: 'call_in_progress', status: 409, retryAfterMs: 1_000 })
  })

  test('of another request with the same name does not stand in the way of the rightful one', async () => {
    const { clock, gateway, call } = scene()
    const here = gateway()
    await here.once(call('one', caller().client), answer)
    const [wrong, right] = [caller(), caller()]
    const both = [
      here.once(call('two', wrong.client, 'another'), never).catch((error: unknown) => error),
      here.once(call('three', right.client), never),
    ]
    await clock.advance(1_000)
    expect(await both[0]).toMatchObject({ code: 'idempotency_key_reused', status: 422 })
    await both[1]
    expect(right.sent).toEqual([200, 'again', 'hello'])
  })

  test('frees its name where it fails, and tells how', async () => {
    const { gateway, call, repeats } = scene()
    const failing = () => Promise.reject(new GatewayError('vendor_error', 'no'))
    await expect(gateway().once(call('one', caller().client), failing)).rejects.toThrow('no')
    expect([...repeats.rows]).toEqual([])
  })

  test('frees its name where its answer is an error', async () => {
    const { gateway, call, repeats } = scene()
    await gateway().once(call('one', caller().client), (client) => {
      client.open(502, {})
      client.end()
      return Promise.resolve()
    })
    expect([...repeats.rows]).toEqual([])
  })

  test.each<[string, (client: Client) => void]>([
    ['too long', (client) => client.end(new Uint8Array(4 * 1024 * 1024 + 1))],
    ['broken off', (client) => client.destroy()],
  ])('is not made again where its answer was %s, because it was charged', async (_, finish) => {
    const { gateway, call } = scene()
    await gateway().once(call('one', caller().client), (client) => {
      client.open(200, { 'x-request-id': 'first' })
      finish(client)
      return Promise.resolve()
    })
    await expect(gateway().once(call('two', caller().client), never)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('goes on to its end when its caller leaves', async () => {
    const { gateway, call } = scene()
    const [one, two] = [caller(), caller()]
    await gateway().once(call('one', one.client), async (client) => {
      one.leave()
      expect(client.gone).toBe(false)
      await answer(client)
    })
    await gateway().once(call('two', two.client), never)
    expect([one.sent, two.sent]).toEqual([[], [200, 'again', 'hello']])
  })
})

describe('a store that', () => {
  test.each(['broken', 'silent'] as const)(
    'is %s refuses within two seconds, because nobody can say',
    async (fault) => {
      const { clock, gateway, call, repeats } = scene()
      repeats.fault = fault
      const refused = gateway()
        .once(call('one', caller().client), never)
        .catch((error: unknown) => error)
      await clock.advance(2_000)
      expect(await refused).toMatchObject({ code: 'billing_unavailable', retryAfterMs: 1_000 })
    },
  )

  test('fails while a call runs is asked again for its answer', async () => {
    const { clock, gateway, call, repeats, log } = scene()
    const [one, two] = [caller(), caller()]
    const first = gateway().once(call('one', one.client), (client) => {
      repeats.fault = 'broken'
      return answer(client)
    })
    await clock.advance(1_500)
    // The caller has had his answer long since.
    expect(one.sent).toEqual([200, 'hello'])
    repeats.fault = 'none'
    await clock.advance(1_000)
    await first
    await gateway().once(call('two', two.client), never)
    expect([two.sent, log]).toEqual([
      [200, 'again', 'hello'],
      ['repeat_not_kept', 'repeat_not_kept'],
    ])
  })
})

describe('a name of a call', () => {
  test.each([
    [undefined, undefined],
    ['  ', undefined],
    [' a b ', 'a b'],
    ['x'.repeat(255), 'x'.repeat(255)],
  ])('%j is %j', (header, name) => {
    expect(idempotencyKey(header)).toBe(name)
  })

  test.each(['é', 'a\tb', 'x'.repeat(256)])('%j is refused', (header) => {
    expect(() => idempotencyKey(header)).toThrow(expect.objectContaining({ code: 'invalid_value' }))
  })
})
