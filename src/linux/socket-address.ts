/** `struct sockaddr_in` and `sockaddr_in6` to and from text. */
import { isIPv4 } from 'node:net'
import { endianness } from 'node:os'
import { WeirError } from '#base'

export interface SocketAddress {
  /** Canonical text; an IPv4-mapped IPv6 address is given as IPv4. */
  readonly address: string
  readonly port: number
}

const LITTLE = endianness() === 'LE'
export const AF_INET = 2
export const AF_INET6 = 10

/** Encodes an address for bind or connect. @throws WeirError when the text is no IP address */
export function encodeSocketAddress({ address, port }: SocketAddress): Buffer {
  const bytes = parseAddress(address)
  const out = Buffer.alloc(bytes.length === 4 ? 16 : 28)
  const family = bytes.length === 4 ? AF_INET : AF_INET6
  if (LITTLE) out.writeUInt16LE(family, 0)
  else out.writeUInt16BE(family, 0)
  out.writeUInt16BE(port, 2)
  bytes.copy(out, bytes.length === 4 ? 4 : 8)
  return out
}

/** Decodes what the kernel wrote; undefined for another family. */
export function decodeSocketAddress(bytes: Buffer): SocketAddress | undefined {
  const family = LITTLE ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0)
  const port = bytes.readUInt16BE(2)
  if (family === AF_INET) return { address: ipv4Text(bytes, 4), port }
  if (family === AF_INET6) return { address: ipv6Text(bytes, 8), port }
  return undefined
}

function ipv4Text(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`
}

/** RFC 5952: lower case, the longest run of zero groups (of two or more, the first) shortened. */
function ipv6Text(bytes: Buffer, at: number): string {
  const groups: number[] = []
  for (let i = 0; i < 8; i++) groups.push(bytes.readUInt16BE(at + i * 2))
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) return ipv4Text(bytes, at + 12)
  let bestStart = -1
  let bestLength = 1
  for (let start = 0; start < 8; ) {
    let end = start
    while (end < 8 && groups[end] === 0) end++
    if (end - start > bestLength) {
      bestStart = start
      bestLength = end - start
    }
    start = end === start ? start + 1 : end
  }
  const hex = groups.map((group) => group.toString(16))
  if (bestStart < 0) return hex.join(':')
  return `${hex.slice(0, bestStart).join(':')}::${hex.slice(bestStart + bestLength).join(':')}`
}

function parseAddress(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number))
  const out = Buffer.alloc(16)
  const [head = '', tail, more] = expandEmbeddedIpv4(text).split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const count = left.length + right.length
  const valid =
    more === undefined &&
    (tail === undefined ? count === 8 : count < 8) &&
    [...left, ...right].every((group) => /^[0-9a-f]{1,4}$/i.test(group))
  if (!valid) throw new WeirError('WEIR_LINUX_ADDRESS', `Not an IP address: ${JSON.stringify(text)}.`)
  for (const [i, group] of left.entries()) out.writeUInt16BE(Number.parseInt(group, 16), i * 2)
  for (const [i, group] of right.entries()) out.writeUInt16BE(Number.parseInt(group, 16), (8 - right.length + i) * 2)
  return out
}

function expandEmbeddedIpv4(text: string): string {
  const at = text.lastIndexOf(':')
  const last = text.slice(at + 1)
  if (!isIPv4(last)) return text
  const [a = 0, b = 0, c = 0, d = 0] = last.split('.').map(Number)
  return `${text.slice(0, at + 1)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}
