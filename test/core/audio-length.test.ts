import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { audioSeconds } from '../../src/core/audio-length.ts'
import { wav } from '../support/operations.ts'

const text = (value: string) => new TextEncoder().encode(value)

function bytes(length: number, ...parts: readonly (readonly [at: number, value: Uint8Array])[]): Uint8Array {
  const whole = new Uint8Array(length)
  for (const [at, value] of parts) whole.set(value, at)
  return whole
}

function number(value: number, size: 1 | 2 | 4 | 8 = 4, isLittle = false): Uint8Array {
  const all = new Uint8Array(8)
  new DataView(all.buffer).setBigUint64(0, BigInt(value), isLittle)
  return isLittle ? all.slice(0, size) : all.slice(8 - size)
}

const flac = bytes(80, [0, text('fLaC')], [18, Uint8Array.of(0x0a, 0xc4, 0x42, 0xf0)], [22, number(44_100 * 5)])
const opus = bytes(
  400,
  [0, text('OggS')],
  [28, text('OpusHead')],
  [300, text('OggS')],
  [306, number(48_000 * 7, 8, true)],
)
const mp4 = bytes(
  200,
  [0, number(16)],
  [4, text('ftypM4A ')],
  [16, number(120)],
  [20, text('moov')],
  [24, number(108)],
  [28, text('mvhd')],
  [44, number(1_000)],
  [48, number(8_500)],
)
/** 128 kbit/s at 44,100 samples a second: 417 bytes a frame. */
const frames = 200
const mp3 = bytes(
  10 + frames * 417,
  [0, text('ID3')],
  ...Array.from({ length: frames }, (_, at) => [10 + at * 417, Uint8Array.of(0xff, 0xfb, 0x90, 0x00)] as const),
)

describe('the length of a recording', () => {
  test.each([
    ['of samples', wav(3), 3],
    ['of lossless frames', flac, 5],
    ['of pages', opus, 7],
    ['of boxes', mp4, 9],
    ['of frames', mp3, 6],
  ])('%s is told by its container', (_, recording, seconds) => {
    expect(audioSeconds(recording)).toEqual({ seconds, isKnown: true })
  })

  test('of samples that were cut off is that of what is there', () => {
    expect(audioSeconds(wav(3).subarray(0, 44 + 8_000))).toEqual({ seconds: 1, isKnown: true })
  })

  test.each([
    ['nothing known', new Uint8Array(20_001)],
    ['a few lucky bytes', bytes(20_001, [0, Uint8Array.of(0xff, 0xfb, 0x90, 0x00)])],
    ['a length of a week', bytes(20_001, [0, mp4], [48, number(604_800_000)])],
  ])('of %s is at most what so many bytes can hold', (_, recording) => {
    expect(audioSeconds(recording)).toEqual({ seconds: 11, isKnown: false })
  })

  test('of anything is a whole number of seconds of at most a day', () => {
    const heads = fc.constantFrom(wav(1).subarray(0, 48), flac, opus, mp4, mp3.subarray(0, 900), new Uint8Array(0))
    const anything = fc.tuple(heads, fc.uint8Array({ maxLength: 300 }), fc.nat(80))
    fc.assert(
      fc.property(anything, ([head, noise, at]) => {
        const recording = new Uint8Array([...head.subarray(0, at), ...noise])
        const { seconds } = audioSeconds(recording)
        expect(Number.isInteger(seconds) && seconds >= 0 && seconds <= 86_400).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})
