import { expect } from 'vitest'
import { booked, standing, type Booked, type Standing } from '../support/booked.ts'
import {
  managementKey,
  startGateway,
  type TestAccount,
  type TestGateway,
  type TestGatewayOptions,
} from '../support/gateway.ts'
import { answerText, startVendor, type FakeVendor } from '../support/vendor.ts'
import { chatPath, requestBytes, sendRaw, type RawAnswer, type RawOptions, type RawRequest } from './wire.ts'

/** What no answer, log line or vendor may ever get to see. */
export const vendorKey = 'vendor-secret'

export const usage = { prompt_tokens: 5, completion_tokens: 2 }
/** What one whole answer of the fake vendor costs, in nano-USD. */
export const usageCost = 9_000n

/** A gateway with one account and one vendor that behaves, until it is told not to. */
export interface Site {
  readonly vendor: FakeVendor
  readonly gateway: TestGateway
  readonly account: TestAccount
  /** Sends a request as it stands, with the account's key and a Host unless it brings its own; all is well meanwhile. */
  ask(request: RawRequest & RawOptions & { readonly key?: string }): Promise<RawAnswer>
  /** Sends bytes as they stand. */
  raw(bytes: string | Uint8Array, options?: RawOptions): Promise<RawAnswer>
  /** The usual call, with more fields. */
  chat(more?: Readonly<Record<string, unknown>>, key?: string): Promise<RawAnswer>
  close(): Promise<void>
}

export const messages = [{ role: 'user', content: 'hi' }]

export function chatBody(more: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ model: 'test-model', messages, ...more })
}

export async function openSite(
  more: (vendorUrl: string) => Partial<TestGatewayOptions> = () => ({}),
  balance = '100',
): Promise<Site> {
  const vendor = await startVendor(answerText('Hello there', usage))
  const gateway = await startGateway({ vendorUrl: vendor.url, ...more(vendor.url) })
  const account = await gateway.account(balance)
  const secrets = [account.key, managementKey, vendorKey]

  async function raw(bytes: string | Uint8Array, options?: RawOptions): Promise<RawAnswer> {
    const [answer, health] = await Promise.all([sendRaw(gateway.url, bytes, options), healthOf(gateway)])
    expect(health).toBe('{"status":"ok"}')
    const told = JSON.stringify(answer)
    expect(secrets.filter((secret) => told.includes(secret))).toEqual([])
    return answer
  }
  async function ask({
    key = account.key,
    more,
    half,
    once,
    limitMs,
    ...request
  }: Parameters<Site['ask']>[0]): Promise<RawAnswer> {
    const given = request.headers ?? []
    const has = (name: string): boolean => given.some((line) => line.toLowerCase().startsWith(`${name}:`))
    const headers = [
      ...(has('host') ? [] : ['Host: gateway']),
      ...(has('authorization') ? [] : [`Authorization: Bearer ${key}`]),
      ...given,
    ]
    return raw(requestBytes({ ...request, headers }), {
      ...(more && { more }),
      ...(half && { half }),
      ...(once && { once }),
      ...(limitMs !== undefined && { limitMs }),
    })
  }
  const chat: Site['chat'] = (more, key = account.key) => ask({ key, target: chatPath, body: chatBody(more) })
  // The first call of an account is called as a poor one: what it has is not known yet.
  expect((await chat()).status).toBe(200)
  return {
    vendor,
    gateway,
    account,
    ask,
    raw,
    chat,
    async close() {
      await gateway.close()
      await vendor.close()
    },
  }
}

async function healthOf({ url }: TestGateway): Promise<string> {
  return (await fetch(`${url}/healthz`)).text()
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** `status code param` of a refusal in OpenAI's envelope with a request id; anything else fails the test. */
export function refusalOf({ status, headers, text, answers }: RawAnswer): string {
  expect(answers, text.slice(0, 500)).toBe(1)
  expect(headers).toMatchObject({
    'content-type': 'application/json',
    'x-request-id': expect.stringMatching(uuid) as string,
  })
  const body = JSON.parse(text) as { error: Record<string, unknown> }
  const { message, type, code, param } = body.error
  expect(body).toEqual({
    error: { message: expect.any(String) as string, type: expect.any(String) as string, code, param },
  })
  expect([message, type]).not.toContain('')
  return [status, code, param].filter((part) => part !== null).join(' ')
}

/** What the books know of an answer's call. */
export function bookedFor({ gateway, account }: Site, { headers }: RawAnswer): Promise<Booked> {
  return booked(gateway, account, headers['x-request-id'])
}

/** The account once nothing is under way; the balance is what it was opened with less what was charged. */
export function standingOf({ gateway, account }: Site): Promise<Standing> {
  return standing(gateway, account)
}
