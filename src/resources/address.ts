/**
 * IP addresses and CIDR blocks as text: read strictly, written canonically (RFC 5952), so that two texts of
 * the same address are the same string. An IPv4 address mapped into IPv6 is written as the IPv4 address.
 */
import { isIPv4, isIPv6 } from 'node:net'

/** The canonical text; undefined when it is no address. Zone identifiers are not accepted. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text
  if (!isIPv6(text) || text.includes('%')) return undefined
  const groups = ipv6Groups(text)
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const high = groups[6] ?? 0
    const low = groups[7] ?? 0
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
  }
  return renderIpv6(groups)
}

/** `address/bits` with a canonical address, host bits left as they are; a bare address stands for itself alone. */
export function canonicalCidr(text: string): string | undefined {
  const slash = text.indexOf('/')
  const address = canonicalAddress(slash < 0 ? text : text.slice(0, slash))
  if (address === undefined) return undefined
  const width = address.includes(':') ? 128 : 32
  if (slash < 0) return `${address}/${width}`
  const bits = text.slice(slash + 1)
  if (!/^(0|[1-9][0-9]{0,2})$/.test(bits)) return undefined
  // A block written in mapped form (::ffff:10.0.0.0/104) counts its bits from the IPv6 beginning.
  const mapped = width === 32 && text.slice(0, slash).includes(':')
  const prefix = Number(bits) - (mapped ? 96 : 0)
  return prefix < 0 || prefix > width ? undefined : `${address}/${prefix}`
}

/** As `canonicalCidr`, with the host bits cleared: as the kernel keeps it. */
export function canonicalNetwork(text: string): string | undefined {
  const cidr = canonicalCidr(text)
  if (cidr === undefined) return undefined
  const [address = '', bits = ''] = cidr.split('/')
  if (!address.includes(':')) return `${cleared(address.split('.').map(Number), 8, Number(bits)).join('.')}/${bits}`
  return `${renderIpv6(cleared(ipv6Groups(address), 16, Number(bits)))}/${bits}`
}

/** Parts of `width` bits each, of which the first `bits` in all are kept. */
function cleared(parts: readonly number[], width: number, bits: number): number[] {
  return parts.map((part, at) => {
    const kept = Math.min(width, Math.max(0, bits - at * width))
    return part & ((2 ** width - 1) << (width - kept)) & (2 ** width - 1)
  })
}

function ipv6Groups(text: string): number[] {
  const [head = '', tail] = text.split('::')
  const left = groupsOf(head)
  if (tail === undefined) return left
  const right = groupsOf(tail)
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
}

function groupsOf(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  })
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as `::`. */
function renderIpv6(groups: readonly number[]): string {
  let runStart = -1
  let runLength = 1
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0) length++
    if (length > runLength) {
      runStart = start
      runLength = length
    }
  }
  const hex = groups.map((group) => group.toString(16))
  if (runStart < 0) return hex.join(':')
  return `${hex.slice(0, runStart).join(':')}::${hex.slice(runStart + runLength).join(':')}`
}
