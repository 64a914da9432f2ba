import { expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import type { Model, VendorEntry } from '../../src/core/catalog.ts'
import { assemble } from '../../src/entry/assemble.ts'
import { trialAccount, trialConfig, trialKey } from '../../src/entry/trial.ts'
import { chat } from '../../src/fronts/chat.ts'
import { buildCatalog } from '../../src/gateway/catalog.ts'
import { exchange } from '../../src/gateway/exchange.ts'
import { openCrypto } from '../../src/platform/crypto.ts'
import { fetchClient } from '../../src/platform/fetch-client.ts'
import { memoryBooks } from '../../src/platform/memory-books.ts'
import { openMemory } from '../../src/platform/memory.ts'
import { noJournal } from '../../src/platform/no-journal.ts'
import type { Send, Tokenizer } from '../../src/ports.ts'
import { testClock } from '../contracts/test-clock.ts'

const key = 'key-of-the-trial-account'
const crypto = openCrypto('secret')
const broken: Tokenizer = {
  name: 'broken',
  count: () => Promise.reject(new Error('a bug of the tokenizer')),
  close: () => Promise.resolve(),
}

const content = '{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}'
const withoutUsage: Send = (_, receiver) => {
  queueMicrotask(() => {
    receiver.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    receiver.data(new TextEncoder().encode(`data: ${content}\n\ndata: [DONE]\n\n`))
    receiver.end()
  })
  return { pause() {}, resume() {}, abort() {} }
}

/** A gateway whose only vendor gives no usage, so that every charge needs the tokenizer. */
async function gatewayThatCannotCount() {
  const shared = openMemory({ clock: testClock(Date.now()), journal: noJournal, onAssertion: () => {} })
  const trial = trialConfig(readConfig({ text: '', path: 'none', env: {} }))
  const [sandbox, echo] = [trial.vendors.get('sandbox') as VendorEntry, trial.models.get('sandbox/echo') as Model]
  const vendor: VendorEntry = { ...sandbox, id: 'fake', adapter: 'openai', baseUrl: 'http://vendor.test' }
  const model: Model = { ...echo, targets: [{ vendor: 'fake', model: 'vendor-model' }] }
  const models = new Map([[model.name, model]])
  const catalog = buildCatalog({ ...trial, models, vendors: new Map([[vendor.id, vendor]]) })
  const events: string[] = []
  const { gateway } = await assemble({
    config: trial,
    shared,
    crypto,
    tokenizer: broken,
    books: memoryBooks({ account: trialAccount, keys: [trialKey(crypto.keyHash(key))], balance: 1_000_000_000n }),
    send: withoutUsage,
    log: (event) => events.push(event),
    catalog: () => catalog,
    replica: 'test',
  })
  return { gateway, events, model: model.name }
}

test('a call whose charging fails is answered, and its hold is left to the reaper', async () => {
  const { gateway, events, model } = await gatewayThatCannotCount()
  const body = { model, stream: true, messages: [{ role: 'user', content: 'one two' }] }
  const { client, response } = fetchClient(
    new Request('http://gateway/v1/chat/completions', {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
    }),
  )
  const id = crypto.uuidv7(Date.now())
  const [answer] = await Promise.all([
    response.then((whole) => whole.text()),
    exchange(gateway, { front: chat, client, id, path: '/', query: () => undefined }),
  ])
  expect(answer.endsWith('data: [DONE]\n\n')).toBe(true)
  expect([events, gateway.ledger.live.size]).toEqual([['charge_failed'], 0])
})
