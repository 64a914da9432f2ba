import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { openWebhook, type Webhook } from '../../src/alerts/webhook.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openUndici } from '../../src/platform/undici.ts'
import type { Clock } from '../../src/ports.ts'

const alert = { event: 'vendor_key_parked', text: 'Key "a" of v is refused.', fields: { vendor: 'v', key: 'a' } }
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Pauses pass at once, so that ten tries do not take minutes; what has a limit keeps it. */
const hasty: Clock = {
  ...systemClock,
  after: (ms, run) => systemClock.after(ms === 5_000 ? 300 : 0, run),
}

type Answer = (response: ServerResponse, at: number) => void

interface Scene {
  readonly webhook: Webhook
  readonly posts: { readonly authorization: string | undefined; readonly body: Record<string, unknown> }[]
  readonly log: string[]
}

/** A webhook whose server answers each post as it is told. */
async function scene(answer: Answer): Promise<Scene> {
  const posts: Scene['posts'] = []
  const log: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
      posts.push({ authorization: request.headers.authorization, body })
      answer(response, posts.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { send, close } = openUndici()
  const webhook = openWebhook({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=t`,
    authorization: 'Bearer hook-secret',
    send,
    clock: hasty,
    random: () => 0.5,
    log: (event, fields) => void log.push(`${event} ${String(fields?.['error'])}`),
    replica: 'r1',
  })
  closing.push(
    () => webhook.close(),
    close,
    () => {
      server.closeAllConnections()
      server.close()
    },
  )
  return { webhook, posts, log }
}

const status = (code: number) => (response: ServerResponse) => void response.writeHead(code).end('{"ok":1}')
const soon = { timeout: 10_000, interval: 10 }

describe('an alert', () => {
  test('is posted once, with what happened and where', async () => {
    const { webhook, posts } = await scene(status(204))
    webhook.tell(alert)
    await vi.waitFor(() => expect(posts).toHaveLength(1), soon)
    const [post] = posts
    expect(post).toEqual({
      authorization: 'Bearer hook-secret',
      body: {
        event: 'vendor_key_parked',
        text: 'Key "a" of v is refused.',
        at: expect.stringMatching(/^\d{4}-.*Z$/) as string,
        replica: 'r1',
        vendor: 'v',
        key: 'a',
      },
    })
  })

  test('is tried again where it was refused, broken off or not answered, and alerts come in their order', async () => {
    const { webhook, posts, log } = await scene((response, at) => {
      if (at === 1) status(503)(response)
      else if (at === 2) response.destroy()
      else if (at > 3) status(200)(response)
    })
    webhook.tell(alert)
    webhook.tell({ ...alert, event: 'vendor_key_works' })
    await vi.waitFor(() => expect(posts).toHaveLength(5), soon)
    expect([posts.map(({ body }) => body['event']), log]).toEqual([
      [...Array<string>(4).fill('vendor_key_parked'), 'vendor_key_works'],
      [],
    ])
  })

  test('is given up after six tries, which the log says, and the next has its turn', async () => {
    const { webhook, posts, log } = await scene((response, at) => status(at <= 6 ? 500 : 200)(response))
    webhook.tell(alert)
    webhook.tell({ ...alert, event: 'next' })
    await vi.waitFor(() => expect(posts).toHaveLength(7), soon)
    expect([posts.at(-1)?.body['event'], log]).toEqual(['next', ['alert_lost status 500']])
  })

  test('that is one too many drops the oldest that waits', async () => {
    const { webhook, posts, log } = await scene(() => {})
    for (let at = 0; at <= 100; at++) webhook.tell({ ...alert, event: `e${at}` })
    await vi.waitFor(() => expect(posts.length).toBeGreaterThan(0), soon)
    expect(log).toEqual(['alert_lost too many wait'])
  })

  test('for an address that nothing can be sent to harms nobody', async () => {
    const log: string[] = []
    const webhook = openWebhook({
      url: 'nothing:',
      send: () => {
        throw new TypeError('no such scheme')
      },
      clock: hasty,
      random: () => 0.5,
      log: (event, fields) => void log.push(`${event} ${String(fields?.['error'])}`),
      replica: 'r1',
    })
    webhook.tell(alert)
    await vi.waitFor(() => expect(log).toEqual(['alert_lost it cannot be sent']), soon)
  })
})
