import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/core/errors.ts'
import { createSseParser, defaultMaxEventBytes, frame, type ServerEvent } from '../../src/core/sse.ts'

// Latin-1 shows each byte as one character, so that broken UTF-8 is compared exactly.
const bytes = (text: string) => Buffer.from(text, 'latin1')
const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')
const show = (events: readonly ServerEvent[]) =>
  events.map(({ name, data }) => [name, Buffer.from(data).toString('latin1')])

/** Parses chunks that are wiped as soon as they were pushed: no event may still lie in one after the next push. */
function parse(chunks: readonly Uint8Array[], maxEventBytes?: number): string[][] {
  const parser = createSseParser(maxEventBytes)
  const seen: string[][] = []
  for (const chunk of chunks) {
    const own = new Uint8Array(chunk)
    seen.push(...show(parser.push(own)))
    own.fill(0x21)
  }
  return [...seen, ...show(parser.end())]
}

function cutAt(whole: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [0, ...places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b), whole.length]
  return sorted.slice(1).map((place, index) => whole.subarray(sorted[index], place))
}

/** The same grammar, read from the whole text line by line. */
function reference(text: string): string[][] {
  const events: string[][] = []
  let name = ''
  let data: string[] = []
  const close = () => {
    if (data.join('\n') !== '') events.push([name, data.join('\n')])
    name = ''
    data = []
  }
  for (const line of text.replace(/^\xef\xbb\xbf/, '').split(/\r\n|\r|\n/)) {
    const match = /^(data|event)(?:: ?([^]*))?$/.exec(line)
    if (line === '') close()
    else if (match?.[1] === 'data') data.push(match[2] ?? '')
    else if (match) name = Buffer.from(match[2] ?? '', 'latin1').toString('utf8')
  }
  close()
  return events
}

const golden: Record<string, [stream: string, events: string[][]]> = {
  'line feeds': [
    'data: {"a":1}\n\ndata: [DONE]\n\n',
    [
      ['', '{"a":1}'],
      ['', '[DONE]'],
    ],
  ],
  'carriage returns and line feeds': [
    'event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n',
    [
      ['a', '1'],
      ['', '2'],
    ],
  ],
  'lone carriage returns': [
    'event: a\rdata: 1\r\rdata: 2\r\r',
    [
      ['a', '1'],
      ['', '2'],
    ],
  ],
  'mixed line ends': [
    'data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\ndata: 4\n\r',
    [
      ['', '1'],
      ['', '2'],
      ['', '3'],
      ['', '4'],
    ],
  ],
  'a byte order mark': [
    '\xef\xbb\xbfdata: 1\n\ndata: \xef\xbb\xbf2\n\n',
    [
      ['', '1'],
      ['', '\xef\xbb\xbf2'],
    ],
  ],
  'a byte order mark before a blank line': ['\xef\xbb\xbf\r\n\xef\xbb\xbfdata: 0\ndata: 1\n\n', [['', '1']]],
  'no space after the colon': ['event:a\ndata:{"a":1}\n\n', [['a', '{"a":1}']]],
  'two spaces after the colon': ['data:  1\n\n', [['', ' 1']]],
  'several data lines': ['data: {\ndata:\ndata: "a":1\ndata: }\n\n', [['', '{\n\n"a":1\n}']]],
  comments: [': hello\n\n:\ndata: 1\n: within\ndata: 2\n\n: bye', [['', '1\n2']]],
  'other fields': ['id: 7\nretry: 10\nfoo: bar\nfoo\ndatum: 1\nevents: x\ndata: 1\n\n', [['', '1']]],
  'fields without a colon': ['event\ndata\ndata: 1\n\ndat\neven\nd\n\n', [['', '\n1']]],
  'events without data': ['event: ping\n\ndata\n\ndata:\n\ndata: 1\n\n', [['', '1']]],
  'the last of two names': ['event: a\nevent: b\ndata: 1\n\n', [['b', '1']]],
  'no blank line at the end': [
    'data: 1\n\nevent: a\ndata: 2\n',
    [
      ['', '1'],
      ['a', '2'],
    ],
  ],
  'no line end at the end': [
    'data: 1\n\ndata: 2\ndata: 3',
    [
      ['', '1'],
      ['', '2\n3'],
    ],
  ],
  'Chinese and emoji': [utf8('event: 名\ndata: {"text":"你好😀"}\n\n'), [['名', utf8('{"text":"你好😀"}')]]],
  'bytes that are no UTF-8': ['data: \xff\xfe\x00\xc3\n\n', [['', '\xff\xfe\x00\xc3']]],
  nothing: ['', []],
}

describe.each(Object.entries(golden))('%s', (_, [stream, events]) => {
  test('in one chunk', () => {
    expect(parse([bytes(stream)])).toEqual(events)
  })

  test('in two chunks, cut at every byte', () => {
    for (let at = 0; at <= stream.length; at++) {
      expect(parse(cutAt(bytes(stream), [at])), `cut at ${at}`).toEqual(events)
    }
  })

  test('in three chunks, cut at every two bytes', () => {
    for (let a = 0; a <= stream.length; a++) {
      for (let b = a; b <= stream.length; b++) expect(parse(cutAt(bytes(stream), [a, b]))).toEqual(events)
    }
  })

  test('in single bytes', () => {
    expect(parse([...bytes(stream)].map((byte) => Uint8Array.of(byte)))).toEqual(events)
  })
})

const anyStream = fc
  .array(
    fc.oneof(
      fc.constantFrom('\n', '\r', '\r\n', '\n\n', '\r\r', '\r\n\r\n', '\n\r', '\xef\xbb\xbf'),
      fc.constantFrom('data', 'data:', 'data: ', 'event: ', 'event:x', ':', ': ping', 'id: 1', 'retry: 1', ' ', 'd'),
      fc.constantFrom('{"a":"\xe4\xbd\xa0"}', '[DONE]', 'x', '\x00\xff'),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''))

test('any stream, cut anywhere, reads as it does line by line', () => {
  fc.assert(
    fc.property(anyStream, fc.array(fc.nat(), { maxLength: 12 }), (stream, places) => {
      expect(parse(cutAt(bytes(stream), places))).toEqual(reference(stream))
    }),
    { numRuns: 2_000 },
  )
})

const recorded = fileURLToPath(new URL('../../../shared/fixtures/', import.meta.url))
const recordings = [
  'deepseek/chat-stream-cacheread-toolcall-47e86d.response.sse',
  'openrouter/chat-stream-errorinstream-length-reasoningtext-e50d09.response.sse',
  'anthropic/messages-stream-plain-e03b63.response.sse',
  'gemini/generateContent-stream-plain-9d19b3.response.sse',
]

test.for(recordings)('the recorded stream %s reads the same at every cut', (file, { skip }) => {
  skip(!existsSync(recorded + file), 'the recorded streams are not beside the repository')
  const stream = readFileSync(recorded + file)
  const events = reference(stream.toString('latin1'))
  expect(events.length).toBeGreaterThan(0)
  const wrong: number[] = []
  for (let at = 0; at <= stream.length; at++) {
    if (JSON.stringify(parse(cutAt(stream, [at]))) !== JSON.stringify(events)) wrong.push(at)
  }
  expect(wrong).toEqual([])
})

test('a payload that lies whole in the chunk is a view of it', () => {
  const chunk = new Uint8Array(bytes('data: 1234\n\n'))
  const [event] = createSseParser().push(chunk)
  expect(event?.data.buffer).toBe(chunk.buffer)
})

test('a payload that waits for its blank line does not hold the chunk', () => {
  const chunk = new Uint8Array(bytes(`data: 1\n\n: ${'x'.repeat(1_000)}\ndata: 2\n`))
  const parser = createSseParser()
  parser.push(chunk)
  const [event] = parser.push(bytes('\n'))
  expect(event?.data.buffer.byteLength).toBe(1)
})

test('an event is handed out with its blank line, before the line feed that may follow its carriage return', () => {
  expect(show(createSseParser().push(bytes('data: 1\r\n\r')))).toEqual([['', '1']])
})

const line = 'data: 12345678\n' // 14 bytes without its end

test('an event of exactly the largest size passes, at any cut', () => {
  for (let at = 0; at <= line.length; at++)
    expect(parse(cutAt(bytes(`${line}\n`), [at]), 14)).toEqual([['', '12345678']])
})

test('an event one byte larger is a fault of the vendor, at any cut, after the events before it', () => {
  for (let at = 0; at <= line.length + 9; at++) {
    const parser = createSseParser(13)
    const seen: string[][] = []
    const feed = () => {
      for (const chunk of cutAt(bytes(`data: 1\n\n${line}\n`), [at])) seen.push(...show(parser.push(chunk)))
      seen.push(...show(parser.end()))
    }
    expect(feed).toThrow(GatewayError)
    expect(seen, `cut at ${at}`).toEqual([['', '1']])
  }
})

test('a parser that met too large an event goes on throwing vendor_error', () => {
  const parser = createSseParser(8)
  const push = () => parser.push(bytes('data: 123456789\n\ndata: 1\n\n'))
  expect(push).toThrow(expect.objectContaining({ code: 'vendor_error' }))
  expect(push).toThrow(expect.objectContaining({ code: 'vendor_error' }))
  expect(() => parser.end()).toThrow(expect.objectContaining({ code: 'vendor_error' }))
})

test('many small data lines of one event count together', () => {
  expect(() => parse([bytes('data: 1\n'.repeat(100))], 150)).toThrow(GatewayError)
})

test('events do not count together', () => {
  expect(parse([bytes('data: 1\n\n'.repeat(100))], 10)).toHaveLength(100)
})

test('comments between the lines of an event do not count', () => {
  expect(parse([bytes(`data: 1\n${': a comment\n'.repeat(100)}data: 2\n\n`)], 20)).toEqual([['', '1\n2']])
})

test('a line without end is refused while it comes', () => {
  const parser = createSseParser(1_000)
  const pour = () => {
    for (let poured = 0; poured < 3_000; poured += 100) parser.push(bytes('x'.repeat(100)))
  }
  expect(pour).toThrow(GatewayError)
})

test('one megabyte in single bytes is one event', () => {
  const payload = 'x'.repeat(1024 * 1024)
  const parser = createSseParser()
  const stream = bytes(`data: ${payload}\n\n`)
  const seen: ServerEvent[] = []
  for (let at = 0; at < stream.length; at++) seen.push(...parser.push(stream.subarray(at, at + 1)))
  expect(seen.map((event) => event.data.length)).toEqual([payload.length])
})

test('an event may have 4 MiB unless told otherwise', () => {
  const parser = createSseParser()
  const stream = new Uint8Array(defaultMaxEventBytes + 2).fill(0x78)
  stream.set(bytes('data: '))
  stream.fill(0x0a, defaultMaxEventBytes)
  expect(parser.push(stream).map((event) => event.data.length)).toEqual([4 * 1024 * 1024 - 6])
})

const framed = (data: string, name?: string) => Buffer.from(frame(bytes(data), name)).toString('latin1')

test('a frame is one data line and a blank line', () => {
  expect(framed('{"a":1}')).toBe('data: {"a":1}\n\n')
})

test('a frame has its name first', () => {
  expect(framed('{}', 'message_stop')).toBe('event: message_stop\ndata: {}\n\n')
})

test('a payload of several lines is framed as several data lines', () => {
  expect(framed('{\n"a":1\r\n}\r', 'x')).toBe('event: x\ndata: {\ndata: "a":1\ndata: }\ndata: \n\n')
})

test('a name with a line break is refused', () => {
  expect(() => frame(bytes('1'), 'a\ndata: 2')).toThrow(RangeError)
})

test('whatever is framed is read back, line breaks as line feeds', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.stringMatching(/^[a-z_.]{0,8}$/))), (events) => {
      const whole = Buffer.concat(events.map(([data, name]) => frame(Buffer.from(data), name)))
      const expected = events
        .filter(([data]) => data !== '')
        .map(([data, name]) => [name, utf8(data.replaceAll(/\r\n|\r/g, '\n'))])
      expect(parse([whole])).toEqual(expected)
    }),
  )
})
