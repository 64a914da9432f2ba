/**
 * Addresses of callers: which one to trust, and as whose they count. An address is 4 bytes or 16; one of IPv4 in the
 * clothes of IPv6 (`::ffff:192.0.2.1`) is the same as without them, so that no rule can be walked around.
 */
export type Address = readonly number[]

/** All addresses that begin with the same bits. */
export interface AddressRange {
  readonly address: Address
  readonly bits: number
}

/** Longer texts are no addresses: a full one of IPv6 with its zone has fewer characters. */
const mostCharacters = 100
/** Forwarded addresses that are looked at, the nearest first: more proxies than that stand in no row. */
const mostHops = 32
/** A caller of IPv6 has a whole network to himself: every address in it counts as his. */
const networkBits = 64

/** Undefined for what is no address. A zone (`%eth0`) is left out. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > mostCharacters) return undefined
  const [plain = ''] = text.split('%', 1)
  const address = plain.includes(':') ? parseSix(plain) : parseFour(plain)
  return address && unmapped(address)
}

function unmapped(address: Address): Address {
  const isMapped = address.length === 16 && address.slice(0, 12).join() === '0,0,0,0,0,0,0,0,0,0,255,255'
  return isMapped ? address.slice(12) : address
}

function parseFour(text: string): Address | undefined {
  const parts = text.split('.', 5)
  // A zero in front is octal to some readers and decimal to others.
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part))) return undefined
  const bytes = parts.map(Number)
  return bytes.every((byte) => byte <= 255) ? bytes : undefined
}

function parseSix(text: string): Address | undefined {
  const halves = text.split('::', 3)
  if (halves.length > 2) return undefined
  const [left, right] = halves.map((half, at) => groupsOf(half, { isEnd: at === halves.length - 1 }))
  if (!left || (halves.length === 2 && !right)) return undefined
  if (!right) return left.length === 16 ? left : undefined
  const missing = 16 - left.length - right.length
  return missing >= 2 ? [...left, ...Array<number>(missing).fill(0), ...right] : undefined
}

/** The bytes of some groups; what stands at the end may be an address of IPv4. */
function groupsOf(text: string, { isEnd }: { readonly isEnd: boolean }): Address | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':', 9)
  for (const [at, group] of groups.entries()) {
    const four = isEnd && at === groups.length - 1 && group.includes('.') ? parseFour(group) : undefined
    if (four) bytes.push(...four)
    else if (/^[0-9a-f]{1,4}$/i.test(group)) bytes.push(parseInt(group, 16) >> 8, parseInt(group, 16) & 255)
    else return undefined
  }
  return bytes.length <= 16 ? bytes : undefined
}

/** An address, or a range as `10.0.0.0/8`; undefined for anything else. */
export function parseRange(text: string): AddressRange | undefined {
  const [written = '', length, ...more] = text.split('/', 3)
  const address = parseAddress(written)
  if (!address || more.length > 0) return undefined
  const most = address.length * 8
  if (length === undefined) return { address, bits: most }
  if (!/^\d{1,3}$/.test(length)) return undefined
  // Of an address in the clothes of the longer kind the bits of the clothes are counted too.
  const bits = Number(length) - (written.includes(':') && most === 32 ? 96 : 0)
  return bits >= 0 && bits <= most ? { address, bits } : undefined
}

export function isInRange(address: Address, range: AddressRange): boolean {
  const { bits } = range
  if (address.length !== range.address.length) return false
  return address.every((byte, at) => {
    const counted = Math.min(8, Math.max(0, bits - 8 * at))
    const mask = (0xff << (8 - counted)) & 0xff
    return (byte & mask) === ((range.address[at] ?? 0) & mask)
  })
}

/** As whose an address counts: itself, of IPv6 its network. The same network has one name. */
export function networkName(address: Address): string {
  if (address.length === 4) return address.join('.')
  const groups = Array.from({ length: networkBits / 16 }, (_, at) =>
    (((address[2 * at] ?? 0) << 8) | (address[2 * at + 1] ?? 0)).toString(16),
  )
  return `${groups.join(':')}::/${networkBits}`
}

export interface Hops {
  /** Who is at the other end of the connection. */
  readonly peer: string | undefined
  /** `x-forwarded-for`: every proxy adds whom it was asked by, at the end. */
  readonly forwarded: string | undefined
  /** Whose word is believed. */
  readonly trusted: readonly AddressRange[]
}

/**
 * The nearest address that no trusted proxy has: the list is read from its end, because what stands before the first
 * address that nobody vouches for is whatever its sender has written there.
 */
export function callerAddress({ peer, forwarded = '', trusted }: Hops): Address | undefined {
  let known = parseAddress(peer ?? '')
  const hops = forwarded === '' ? [] : forwarded.split(',').slice(-mostHops)
  for (let at = hops.length - 1; at >= 0; at--) {
    const here = known
    if (!here || !trusted.some((range) => isInRange(here, range))) return here
    const next = parseHop(hops[at] ?? '')
    if (!next) return here
    known = next
  }
  return known
}

/** Some proxies write the port too. */
function parseHop(text: string): Address | undefined {
  const plain = text.trim().replace(/^"(.*)"$/, '$1')
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(plain)
  if (bracketed) return parseAddress(bracketed[1] ?? '')
  const withPort = /^([\d.]+):\d{1,5}$/.exec(plain)
  return parseAddress(withPort?.[1] ?? plain)
}
