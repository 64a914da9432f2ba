/*
 * How long a recording is, as far as its container says so. It is read for holds, and charged only where a vendor says
 * nothing. Anything may be in the bytes: what is no number of a sound recording is no length.
 */

/** Longer than any recording that a request can carry. */
const longestSeconds = 24 * 3_600
/** Speech is hardly ever kept at less than 16 kbit/s. */
const leastBytesPerSecond = 2_000
/** Boxes of a file are skipped over, frames are looked at one by one. */
const maxBoxes = 10_000
const maxFrames = 2_000_000

/** Whole seconds, rounded up, or the most that so many bytes can be. */
export function audioSeconds(bytes: Uint8Array): { readonly seconds: number; readonly isKnown: boolean } {
  const length = lengthOf(bytes)
  if (length !== undefined && length > 0 && length <= longestSeconds)
    return { seconds: Math.ceil(length), isKnown: true }
  return { seconds: Math.min(longestSeconds, Math.ceil(bytes.length / leastBytesPerSecond)), isKnown: false }
}

function lengthOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < 64) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (word(view, 0) === 'RIFF' && word(view, 8) === 'WAVE') return wavLength(view)
  if (word(view, 0) === 'fLaC') return flacLength(view)
  if (word(view, 0) === 'OggS') return oggLength(view)
  if (word(view, 4) === 'ftyp') return mp4Length(view)
  return mp3Length(view)
}

function word(view: DataView, at: number): string {
  if (at + 4 > view.byteLength) return ''
  return String.fromCharCode(...[0, 1, 2, 3].map((offset) => view.getUint8(at + offset)))
}

/** The rate in the header could be a lie of no consequence to a decoder: it is made of what a decoder needs. */
function wavLength(view: DataView): number | undefined {
  let bytesPerSecond = 0
  let at = 12
  for (let box = 0; box < maxBoxes && at + 8 <= view.byteLength; box++) {
    const size = view.getUint32(at + 4, true)
    if (word(view, at) === 'fmt ' && at + 24 <= view.byteLength) {
      const [format, channels, rate] = [
        view.getUint16(at + 8, true),
        view.getUint16(at + 10, true),
        view.getUint32(at + 12, true),
      ]
      const isPlain = format === 1 || format === 3 || format === 0xfffe
      bytesPerSecond = isPlain ? channels * rate * (view.getUint16(at + 22, true) / 8) : view.getUint32(at + 16, true)
    }
    if (word(view, at) === 'data') {
      // A recorder that streams does not know the size when it writes it.
      return bytesPerSecond > 0 ? Math.min(size, view.byteLength - at - 8) / bytesPerSecond : undefined
    }
    at += 8 + size + (size % 2)
  }
  return undefined
}

/** The block STREAMINFO comes first: 20 bits of sample rate, then 36 of samples. */
function flacLength(view: DataView): number | undefined {
  const rate = view.getUint32(18) >>> 12
  const samples = (view.getUint8(21) & 0x0f) * 2 ** 32 + view.getUint32(22)
  return rate > 0 ? samples / rate : undefined
}

/** The position of the last page, in samples; those of Opus always are 48,000 a second. */
function oggLength(view: DataView): number | undefined {
  const isOpus = word(view, 28) === 'Opus' && word(view, 32) === 'Head'
  const rate = isOpus ? 48_000 : word(view, 29) === 'vorb' ? view.getUint32(40, true) : 0
  const lastPage = findLast(view, 'OggS')
  if (rate === 0 || lastPage === undefined || lastPage + 14 > view.byteLength) return undefined
  return (view.getUint32(lastPage + 6, true) + view.getUint32(lastPage + 10, true) * 2 ** 32) / rate
}

/** Pages have at most 65,307 bytes, so the last one begins near the end. */
const largestPage = 65_307

function findLast(view: DataView, mark: string): number | undefined {
  const from = Math.max(0, view.byteLength - 2 * largestPage)
  for (let at = view.byteLength - 4; at >= from; at--) if (word(view, at) === mark) return at
  return undefined
}

/** `mvhd` inside `moov` has the length in units of its own scale. */
function mp4Length(view: DataView): number | undefined {
  const moov = box(view, 'moov', { from: 0, to: view.byteLength })
  const mvhd = moov && box(view, 'mvhd', moov)
  if (!mvhd || mvhd.from + 32 > view.byteLength) return undefined
  const isLong = view.getUint8(mvhd.from) === 1
  const scale = view.getUint32(mvhd.from + (isLong ? 20 : 12))
  const length = isLong
    ? view.getUint32(mvhd.from + 24) * 2 ** 32 + view.getUint32(mvhd.from + 28)
    : view.getUint32(mvhd.from + 16)
  return scale > 0 ? length / scale : undefined
}

interface Span {
  readonly from: number
  readonly to: number
}

function box(view: DataView, name: string, { from, to }: Span): Span | undefined {
  let at = from
  for (let seen = 0; seen < maxBoxes && at + 16 <= to; seen++) {
    const short = view.getUint32(at)
    const head = short === 1 ? 16 : 8
    const size =
      short === 1 ? view.getUint32(at + 8) * 2 ** 32 + view.getUint32(at + 12) : short === 0 ? to - at : short
    if (size < head) return undefined
    if (word(view, at + 4) === name) return { from: at + head, to: Math.min(to, at + size) }
    at += size
  }
  return undefined
}

/** kbit/s by the index of a frame's header, of layer III: version 1, and versions 2 and 2.5. */
const rates1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
const rates2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
const sampleRates = [44_100, 48_000, 32_000]

/** Frame by frame, because rates vary. Undefined where the bytes do not go on as frames. */
function mp3Length(view: DataView): number | undefined {
  let at = afterTag(view)
  let seconds = 0
  let frames = 0
  while (frames < maxFrames && at + 4 <= view.byteLength) {
    const frame = frameAt(view, at)
    if (!frame) break
    seconds += frame.seconds
    at += frame.bytes
    frames++
  }
  // What follows the frames is a tag at most; a few lucky bytes make no recording.
  return frames >= 3 && at + 4_096 >= view.byteLength ? seconds : undefined
}

/** The length of an ID3 tag stands in four bytes of seven bits. */
function afterTag(view: DataView): number {
  if (!word(view, 0).startsWith('ID3')) return 0
  return 10 + [6, 7, 8, 9].reduce((size, at) => size * 128 + (view.getUint8(at) & 0x7f), 0)
}

function frameAt(view: DataView, at: number): { readonly bytes: number; readonly seconds: number } | undefined {
  const header = view.getUint32(at)
  const version = (header >>> 19) & 3
  if (header >>> 21 !== 0x7ff || version === 1 || ((header >>> 17) & 3) !== 1) return undefined
  const isFirst = version === 3
  const kilobits = (isFirst ? rates1 : rates2)[(header >>> 12) & 15] ?? 0
  const rate = (sampleRates[(header >>> 10) & 3] ?? 0) / (isFirst ? 1 : version === 2 ? 2 : 4)
  if (kilobits === 0 || rate === 0) return undefined
  const samples = isFirst ? 1_152 : 576
  return {
    bytes: Math.floor(((samples / 8) * kilobits * 1_000) / rate) + ((header >>> 9) & 1),
    seconds: samples / rate,
  }
}
