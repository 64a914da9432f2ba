import { describe, expect, test } from 'vitest'
import { accountKeyId } from '../../../src/core/call.ts'
import type { RateLimit } from '../../../src/core/rate-limit.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  keyFacts,
  keyRecord,
  machine,
  metered,
  noon,
  reapCommand,
  settleCommand,
  voidCommand,
  wallet,
} from './sample.ts'

const ofAccount = accountKeyId(accountId)
const requests: RateLimit = { of: 'requests', window: 'hour', algorithm: 'token_bucket', limit: 2 }
const tokens: RateLimit = { of: 'tokens', window: 'minute', algorithm: 'token_bucket', limit: 100 }

/** An account with a key, and limits at either. */
function open(ofKey: readonly RateLimit[], ofAll: readonly RateLimit[] = [], concurrency?: number) {
  const self = machine(accountRecord(1_000n), keyRecord(5), keyRecord(ofAccount))
  const keys = [
    keyFacts(5, { limits: ofKey }),
    keyFacts(ofAccount, { limits: ofAll, ...(concurrency !== undefined && { concurrency }) }),
  ]
  return { self, admit: (id: string, asked = 10) => self.run(admitCommand({ id, keys, tokens: asked })) }
}

describe('limits by time', () => {
  test('the last call that is let in, and the first that is not', () => {
    const { admit } = open([requests])
    const left = (remaining: number, resetMs: number) => ({ requests: { limit: 2, remaining, resetMs } })
    expect(admit('a')).toMatchObject({ code: 'ok', ...left(1, 1_800_000) })
    expect(admit('b')).toMatchObject({ code: 'ok', ...left(0, 3_600_000) })
    expect(admit('c')).toEqual({
      code: 'limit',
      what: 'requests',
      keyId: 5,
      limit: 2,
      window: 'hour',
      retryMs: 1_800_000,
      ...left(0, 3_600_000),
    })
  })

  test('a limit of the account binds all its keys, and is named as its own', () => {
    const { self, admit } = open([], [requests])
    const other = { keys: [keyFacts(6), keyFacts(ofAccount, { limits: [requests] })] }
    self.keys.set(6, keyRecord(6))
    admit('a')
    self.run(admitCommand({ id: 'b', ...other }))
    expect(self.run(admitCommand({ id: 'c', ...other }))).toMatchObject({ code: 'limit', keyId: ofAccount })
  })

  test('tokens are reserved when a call begins, and counted as they were when it has ended', () => {
    const { self, admit } = open([tokens])
    expect([admit('a', 80), admit('b', 30)]).toMatchObject([
      { code: 'ok', tokens: { remaining: 20 } },
      { code: 'limit', what: 'tokens', retryMs: 6_000 },
    ])
    self.run(settleCommand([wallet(40n)], 'a'))
    expect(self.keys.get(5)?.meters).toEqual([{ ...tokens, used: 15, rest: 0, atMs: noon }])
  })

  test('a call that delivered nothing gives back all that it reserved, and stays a request', () => {
    const { self, admit } = open([tokens, requests])
    admit('a', 80)
    self.run(voidCommand('a'))
    expect(self.keys.get(5)?.meters).toMatchObject([{ used: 0 }, { used: 1 }])
  })

  test('the slot and the tokens of a gateway that died come back with the reaper', () => {
    const { self, admit } = open([], [tokens], 1)
    admit('a', 80)
    expect(admit('b')).toMatchObject({ code: 'limit', what: 'concurrency', keyId: ofAccount })
    self.run(reapCommand([wallet(0n)].slice(1), metered, 'a'))
    expect(self.keys.get(ofAccount)).toMatchObject({ inFlight: 0, meters: [{ used: 15 }] })
  })

  test('a refused call counts nowhere', () => {
    const { self, admit } = open([tokens], [requests])
    admit('a', 60)
    const before = structuredClone(self.keys)
    expect([admit('b', 60), self.keys]).toEqual([expect.objectContaining({ code: 'limit' }), before])
  })

  test('a limit that is raised counts on from what it had', () => {
    const { self, admit } = open([requests])
    admit('a')
    admit('b')
    const raised = keyFacts(5, { limits: [{ ...requests, limit: 4 }] })
    expect(self.run(admitCommand({ id: 'c', keys: [raised] }))).toMatchObject({
      code: 'ok',
      requests: { remaining: 1 },
    })
  })

  test('the tightest limit of a chain is told, whoever has it', () => {
    const { admit } = open([{ ...requests, limit: 50 }], [requests])
    expect(admit('a')).toMatchObject({ requests: { limit: 2, remaining: 1 } })
  })

  test('more limits than there are windows stop the account', () => {
    const { admit } = open(Array.from({ length: 9 }, () => requests))
    expect(() => admit('a')).toThrow('the limits of a key are bounded')
  })
})
