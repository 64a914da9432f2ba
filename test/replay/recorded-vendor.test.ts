import { expect, test } from 'vitest'
import { openUndici } from '../../src/platform/undici.ts'
import { startRecordedVendor } from './recorded-vendor.ts'

const encoder = new TextEncoder()

/** The pieces of an answer as the gateway's own client hears them. */
async function heard(pieces: readonly Uint8Array[], isSlow: boolean): Promise<string[]> {
  const vendor = await startRecordedVendor()
  const { send, close } = openUndici()
  const { promise, resolve, reject } = Promise.withResolvers<string[]>()
  const reads: string[] = []
  vendor.play({ status: 200, headers: {}, pieces, isSlow })
  const request = {
    method: 'POST',
    url: `${vendor.url}/chat/completions`,
    headers: {},
    body: encoder.encode('{}'),
    connectMs: 1_000,
  } as const
  send(request, {
    head() {},
    data: (chunk) => reads.push(Buffer.from(chunk).toString('latin1')),
    end: () => resolve(reads),
    fail: reject,
  })
  try {
    return await promise
  } finally {
    await close()
    await vendor.close()
  }
}

test('each byte reaches the gateway as a read of its own', async () => {
  const text = 'data: {"a":1}\r\n\r\n'.repeat(20)
  const pieces = Array.from(encoder.encode(text), (byte) => Uint8Array.of(byte))
  expect(await heard(pieces, false)).toEqual(text.split(''))
})

test('the two halves of a body are two reads', async () => {
  expect(await heard([encoder.encode('data: 1\n'), encoder.encode('\n')], true)).toEqual(['data: 1\n', '\n'])
})
