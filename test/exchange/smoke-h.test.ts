import OpenAI from 'openai'
import { test } from 'vitest'
import { startGateway } from '../support/gateway.ts'
import { answerText, startVendor } from '../support/vendor.ts'

test('smoke', async () => {
  const t0 = Date.now()
  const vendor = await startVendor(answerText('Hello big world', { prompt_tokens: 10, completion_tokens: 3 }))
  const gw = await startGateway({ vendorUrl: vendor.url })
  console.log('start', Date.now() - t0)
  const account = await gw.account('1')
  const client = new OpenAI({ baseURL: gw.url + '/v1', apiKey: account.key, maxRetries: 0 })
  const { data, response } = await client.chat.completions.create({ model: 'test-model', messages: [{ role: 'user', content: 'hi' }] }).withResponse()
  console.log(JSON.stringify(data), [...response.headers])
  const stream = await client.chat.completions.create({ model: 'test-model', stream: true, stream_options: { include_usage: true }, messages: [{ role: 'user', content: 'hi' }] }).withResponse()
  for await (const c of stream.data) console.log(JSON.stringify(c))
  console.log(await gw.get('/v1/credits', account.key), await gw.get('/v1/generation?id=' + stream.response.headers.get('x-request-id'), account.key), await gw.get('/v1/key', account.key))
  console.log(gw.log.join('\n'))
  console.log(vendor.calls.map((c) => [c.text, c.headers]))
  await gw.close(); await vendor.close()
  console.log('all', Date.now() - t0)
})
