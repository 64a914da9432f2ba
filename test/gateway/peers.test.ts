import { describe, expect, test } from 'vitest'
import type { Catalog } from '../../src/core/catalog.ts'
import { openPeers, type Peers } from '../../src/gateway/peers.ts'
import { openRouter, type Router } from '../../src/route/router.ts'
import { virtualTime, type VirtualTime } from '../support/virtual-time.ts'

const limits = { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 }
const target = { vendor: 'v', model: 'large' }
const policies = { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' } as const
const model = { name: 'm', targets: [target], maxOutputTokens: 1, policies, createdAtMs: 0, provisioned: true }
const catalog: Catalog = {
  models: new Map([['m', model]]),
  vendors: new Map([['v', { id: 'v', adapter: 'openai', baseUrl: '', apiKeys: ['secret one', 'secret two'], limits }]]),
}

interface Replica {
  readonly router: Router
  readonly peers: Peers
}

/** Replicas on one line: what one says all of them hear, itself too. */
function scene(...names: readonly string[]) {
  const time = virtualTime()
  const said: string[] = []
  const all: Replica[] = []
  const come = (name: string): Replica => {
    const replica = newReplica(time, name)
    all.push(replica)
    replica.peers.join((text) => {
      said.push(text)
      for (const { peers } of all) peers.hear(text)
    })
    return replica
  }
  return { time, said, come, all: names.map(come) }
}

function newReplica({ clock }: VirtualTime, name: string): Replica {
  const router = openRouter({ clock, random: () => 0.5, log: () => {}, mark: (secret) => `mark of ${secret}` })
  return { router, peers: openPeers({ router, clock, replica: name, catalog: () => catalog }) }
}

const call = {
  id: 'c',
  dialect: 'chat',
  operation: 'chat',
  model: 'm',
  raw: new Uint8Array(),
  body: {},
  inner: { messages: [] },
  stream: false,
  wantsUsage: false,
  choices: 1,
  startedAtMs: 0,
  maxOutput: undefined,
  clientRequestId: undefined,
} as unknown as Parameters<Router['route']>[0]['call']
const wish = { models: [], order: [], only: [], ignore: [], maxPrice: {}, explain: false }

/** A call whose vendor refuses the key, as a router hears of it. */
function refuse({ router }: Replica, status: number): void {
  const { candidates } = router.route({
    catalog,
    model,
    call,
    wish,
    accountId: 1,
    keyClass: { priority: 'normal' },
    refuses: () => undefined,
  })
  const place = candidates[0]?.enter({ without: new Set(), isLastResort: false })
  place?.failed({ fault: 'account', about: 'key', code: 'no_target_available', status })
}

const parkedAt = ({ router }: Replica) => router.report(catalog).vendors[0]?.keys.map(({ parked }) => parked ?? null)

describe('replicas that hear of each other', () => {
  test('park a key that one of them was refused', () => {
    const { all } = scene('a', 'b', 'c')
    refuse(all[0]!, 402)
    expect(all.map(parkedAt)).toEqual(Array(3).fill(['out_of_credit', null]))
  })

  test('say nothing of a secret', () => {
    const { all, said } = scene('a', 'b')
    refuse(all[0]!, 401)
    expect(said).toEqual([
      JSON.stringify({
        from: 'a',
        seen: {
          kind: 'key_parked',
          vendor: 'v',
          key: 'key-1',
          mark: 'mark of secret one',
          reason: 'refused',
          status: 401,
          forMs: 30_000,
          again: false,
        },
      }),
    ])
  })

  test('tell one that has just come what they know, and nobody repeats it', () => {
    const { all, come, said } = scene('a', 'b')
    refuse(all[0]!, 401)
    const late = come('late')
    expect(parkedAt(late)).toEqual([null, null])
    late.peers.listening()
    expect([parkedAt(late), said.length]).toEqual([['refused', null], 4])
  })

  test('pass over what is none of theirs', () => {
    const { all } = scene('a')
    const seen = { kind: 'circuit_open', target: 'stranger/x', forMs: 1_000 }
    for (const text of ['', '{', 'null', '{"from":"b"}', '{"from":"b","seen":7}', JSON.stringify({ from: 'b', seen })])
      all[0]?.peers.hear(text)
    expect(all[0]?.router.sightings(catalog)).toEqual([])
  })

  test('tell no more than so much at once, and more later', async () => {
    const { all, said, time } = scene('a', 'b')
    for (let at = 0; at < 500; at++) all[0]?.router.rated(target, 1)
    expect(said.length).toBe(100)
    await time.runUntil(1_000)
    for (let at = 0; at < 500; at++) all[0]?.router.rated(target, 1)
    expect(said.length).toBe(120)
  })
})
