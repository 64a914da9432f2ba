import { expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { assemble } from '../src/entry/assemble.ts'
import { trialAccount, trialConfig } from '../src/entry/trial.ts'
import { buildCatalog } from '../src/gateway/catalog.ts'
import { openCrypto } from '../src/platform/crypto.ts'
import { fetchClient } from '../src/platform/fetch-client.ts'
import { memoryBooks } from '../src/platform/memory-books.ts'
import { openMemory } from '../src/platform/memory.ts'
import { noJournal } from '../src/platform/no-journal.ts'
import { testClock } from './contracts/test-clock.ts'

/** The routes of a gateway whose books do not answer, and what it logs. */
async function appWithoutBooks() {
  const config = trialConfig(readConfig({ text: '', path: 'none', env: {} }))
  const log: [event: string, fields: object][] = []
  const { gateway } = await assemble({
    config,
    shared: openMemory({ clock: testClock(0), journal: noJournal, onAssertion: () => {} }),
    crypto: openCrypto('secret'),
    tokenizer: { name: 'none', count: () => Promise.resolve(0), close: () => Promise.resolve() },
    books: {
      ...memoryBooks({ account: trialAccount, keys: [], balance: 0n }),
      findKey: () => Promise.reject(new TypeError('text that a statement may quote')),
    },
    send: () => ({ pause() {}, resume() {}, abort() {} }),
    log: (event, fields = {}) => log.push([event, fields]),
    catalog: () => buildCatalog(config),
    replica: 'test',
  })
  const app = buildApp({ gateway, checks: () => ({}), connect: (c) => fetchClient(c.req.raw) })
  return { app, log }
}

test('why a call cannot be billed is logged under its id, without the text of the error', async () => {
  const { app, log } = await appWithoutBooks()
  const answer = await app.request('/v1/models', { headers: { authorization: 'Bearer some-key' } })
  expect(answer.status).toBe(503)
  expect(log).toEqual([
    [
      'billing_unavailable',
      { id: answer.headers.get('x-request-id'), path: '/v1/models', error: expect.stringMatching(/^TypeError +at /) },
    ],
  ])
  expect(JSON.stringify(log)).not.toContain('quote')
})
