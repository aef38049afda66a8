/**
 * IP addresses and CIDR blocks as 32-bit words: a match is at most four AND-and-compare operations.
 * IPv4-mapped IPv6 (`::ffff:10.0.0.1`) is IPv4 throughout, since a dual-stack socket writes IPv4 that way.
 */

/** Mutable so that the hot path parses into one object again and again. Words are signed 32-bit. */
export class IpAddress {
  /** 0 until an address has been read. */
  family: 0 | 4 | 6 = 0
  w0 = 0
  w1 = 0
  w2 = 0
  w3 = 0
}

/** A compiled block: an address belongs when each masked word is equal. */
export interface IpBlock {
  readonly family: 4 | 6
  readonly w0: number
  readonly w1: number
  readonly w2: number
  readonly w3: number
  readonly m0: number
  readonly m1: number
  readonly m2: number
  readonly m3: number
}

const groups = new Int32Array(8)

/** Dotted quad in text[start, end); undefined when malformed (leading zeros are: they are octal to some). */
function readQuad(text: string, start: number, end: number): number | undefined {
  let word = 0
  let octet = 0
  let digits = 0
  let dots = 0
  for (let index = start; index < end; index++) {
    const code = text.charCodeAt(index)
    if (code === 46) {
      if (digits === 0 || ++dots > 3) return undefined
      word = (word << 8) | octet
      octet = 0
      digits = 0
    } else if (code >= 48 && code <= 57) {
      if (digits > 0 && octet === 0) return undefined
      octet = octet * 10 + code - 48
      if (++digits > 3 || octet > 255) return undefined
    } else return undefined
  }
  return dots === 3 && digits > 0 ? (word << 8) | octet : undefined
}

function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** Fills `groups`; false when malformed. RFC 4291 section 2.2. */
function readGroups(text: string, end: number): boolean {
  let count = 0
  let gap = -1
  let index = 0
  if (text.charCodeAt(0) === 58) {
    if (text.charCodeAt(1) !== 58) return false
    gap = 0
    index = 2
  }
  while (index < end) {
    if (count === 8) return false
    const start = index
    let value = 0
    while (index < end) {
      const digit = hexValue(text.charCodeAt(index))
      if (digit < 0) break
      value = value * 16 + digit
      index++
    }
    if (index < end && text.charCodeAt(index) === 46) {
      const quad = count <= 6 ? readQuad(text, start, end) : undefined
      if (quad === undefined) return false
      groups[count++] = quad >>> 16
      groups[count++] = quad & 0xffff
      index = end
      break
    }
    if (index === start || index - start > 4) return false
    groups[count++] = value
    if (index === end) break
    if (text.charCodeAt(index++) !== 58) return false
    if (index === end) return false
    if (text.charCodeAt(index) === 58) {
      if (gap >= 0) return false
      gap = count
      index++
    }
  }
  if (gap < 0) return count === 8
  if (count === 8) return false
  groups.copyWithin(8 - (count - gap), gap, count)
  groups.fill(0, gap, gap + 8 - count)
  return true
}

function word(high: number): number {
  return ((groups[high] ?? 0) << 16) | (groups[high + 1] ?? 0)
}

/** Reads an address in text (a zone, as in `fe80::1%eth0`, is dropped); false, family 0, when malformed. */
export function readIp(text: string, into: IpAddress): boolean {
  into.family = 0
  if (!text.includes(':')) {
    const quad = readQuad(text, 0, text.length)
    if (quad === undefined) return false
    into.w3 = quad
    into.family = 4
    return true
  }
  const zone = text.indexOf('%')
  if (!readGroups(text, zone < 0 ? text.length : zone)) return false
  into.w0 = word(0)
  into.w1 = word(2)
  into.w2 = word(4)
  into.w3 = word(6)
  into.family = into.w0 === 0 && into.w1 === 0 && into.w2 === 0xffff ? 4 : 6
  return true
}

/** The mask word whose first bits, out of 32 from bit `from` of the address, are set. */
function maskWord(prefixLength: number, from: number): number {
  const bits = Math.min(32, Math.max(0, prefixLength - from))
  return bits === 0 ? 0 : -1 << (32 - bits)
}

/** `10.0.0.0/8`, `2001:db8::/32`, or one address; host bits are ignored. Undefined when malformed. */
export function parseIpBlock(text: string): IpBlock | undefined {
  const slash = text.indexOf('/')
  const address = new IpAddress()
  const addressText = slash < 0 ? text : text.slice(0, slash)
  if (addressText.includes('%') || !readIp(addressText, address)) return undefined
  const { family, w0, w1, w2, w3 } = address
  if (family === 0) return undefined
  const writtenBits = addressText.includes(':') ? 128 : 32
  const suffix = slash < 0 ? String(writtenBits) : text.slice(slash + 1)
  if (!/^(?:0|[1-9]\d{0,2})$/.test(suffix) || Number(suffix) > writtenBits) return undefined
  let length = Number(suffix)
  if (family === 4) {
    // A mapped block shorter than /96 spans more than IPv4 and is IPv6 like any other.
    if (writtenBits === 128) length -= 96
    if (length >= 0) {
      const mask = maskWord(length, 0)
      return Object.freeze({ family, w0: 0, w1: 0, w2: 0, w3: w3 & mask, m0: 0, m1: 0, m2: 0, m3: mask })
    }
    length += 96
  }
  const m0 = maskWord(length, 0)
  const m1 = maskWord(length, 32)
  const m2 = maskWord(length, 64)
  const m3 = maskWord(length, 96)
  return Object.freeze({ family: 6, w0: w0 & m0, w1: w1 & m1, w2: w2 & m2, w3: w3 & m3, m0, m1, m2, m3 })
}

/** False for an address that has not been read. */
export function blockContains(block: IpBlock, address: IpAddress): boolean {
  if (block.family !== address.family) return false
  if ((address.w3 & block.m3) !== block.w3) return false
  if (block.family === 4) return true
  return (
    (address.w0 & block.m0) === block.w0 && (address.w1 & block.m1) === block.w1 && (address.w2 & block.m2) === block.w2
  )
}
