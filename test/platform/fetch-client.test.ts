import { afterEach, describe, expect, test, vi } from 'vitest'
import { fetchClient } from '../../src/platform/fetch-client.ts'

afterEach(() => {
  vi.useRealTimers()
})

const bytes = (text: string) => new TextEncoder().encode(text)

function asking(body: string | ReadableStream = 'hello', headers: Record<string, string> = {}) {
  const abort = new AbortController()
  const { signal } = abort
  const request = new Request('https://gateway.example/v1', { method: 'POST', headers, signal, duplex: 'half', body })
  const { client, response } = fetchClient(request)
  let left = 0
  client.onGone(() => {
    left += 1
  })
  return { client, response, leave: () => abort.abort(), left: () => left }
}

describe('the body', () => {
  test('is read whole up to the limit', async () => {
    expect(await asking().client.body(5)).toEqual(bytes('hello'))
  })

  test('is refused beyond it', async () => {
    await expect(asking().client.body(4)).rejects.toMatchObject({ code: 'request_too_large' })
  })

  test('is refused unread where its length is told', async () => {
    const { client } = asking(new ReadableStream(), { 'content-length': '6' })
    await expect(client.body(5)).rejects.toMatchObject({ code: 'request_too_large' })
  })

  test('that breaks off is the fault of its caller', async () => {
    const broken = new ReadableStream({ start: (controller) => controller.error(new Error('reset')) })
    await expect(asking(broken).client.body(5)).rejects.toMatchObject({ code: 'invalid_value' })
  })

  test('that does not come in time is given up', async () => {
    vi.useFakeTimers()
    const { client } = asking(new ReadableStream())
    const reading = expect(client.body(5)).rejects.toMatchObject({ code: 'request_timeout' })
    await vi.advanceTimersByTimeAsync(120_000)
    await reading
  })
})

describe('the answer', () => {
  test('is what was opened and written', async () => {
    const { client, response } = asking()
    client.open(201, { 'x-kind': 'test' })
    client.write(bytes('one '))
    client.end(bytes('two'))
    const answer = await response
    expect([answer.status, answer.headers.get('x-kind'), await answer.text()]).toEqual([201, 'test', 'one two'])
  })

  test('that nobody reads asks to wait, and says when it is read', async () => {
    const { client, response } = asking()
    client.open(200, {})
    let drained = 0
    client.onDrain(() => {
      drained += 1
    })
    expect(client.write(bytes('one'))).toBe(false)
    const reader = (await response).body?.getReader()
    await reader?.read()
    await vi.waitFor(() => expect(drained).toBe(1))
  })

  test('breaks when it is destroyed', async () => {
    const { client, response, left } = asking()
    client.open(200, {})
    client.destroy()
    await expect((await response).text()).rejects.toThrow('broken off')
    expect([client.gone, left()]).toEqual([true, 1])
  })
})

describe('a caller who leaves', () => {
  test('before the answer is told of once, and gets an end all the same', async () => {
    const { client, response, leave, left } = asking()
    leave()
    expect([client.gone, left()]).toEqual([true, 1])
    expect((await response).status).toBe(499)
  })

  test('during the answer is told of once', async () => {
    const { client, response, left } = asking()
    client.open(200, {})
    await (await response).body?.cancel()
    expect([client.gone, left(), client.write(bytes('more'))]).toEqual([true, 1, true])
  })

  test('after the answer is nobody who left', async () => {
    const { client, response, leave, left } = asking()
    client.open(200, {})
    client.end()
    await response
    leave()
    expect([client.gone, left()]).toEqual([false, 0])
  })
})
