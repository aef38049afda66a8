/** Is an address in a block? Both as canonical text; read once per connection to what the mesh does not know. */

export interface AddressBlock {
  readonly six: boolean
  readonly first: bigint
  /** Of the bits that count. */
  readonly shift: bigint
}

/** @param cidr canonical, with its length */
export function parseBlock(cidr: string): AddressBlock {
  const [address = '', length = ''] = cidr.split('/')
  const six = address.includes(':')
  const shift = BigInt((six ? 128 : 32) - Number(length))
  return { six, first: bitsOf(address) >> shift, shift }
}

export function isInBlock(address: string, { six, first, shift }: AddressBlock): boolean {
  return address.includes(':') === six && bitsOf(address) >> shift === first
}

/** A name of digits and dots, or with a colon, is no host name. */
export function isAddress(text: string): boolean {
  return text.includes(':') || /^\d{1,3}(\.\d{1,3}){3}$/.test(text)
}

function bitsOf(address: string): bigint {
  if (!address.includes(':')) return address.split('.').reduce((bits, part) => bits * 256n + BigInt(part), 0n)
  const [left = '', right] = address.split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = Array.from({ length: right === undefined ? 0 : 8 - head.length - tail.length }, () => '0')
  return [...head, ...zeros, ...tail].reduce((bits, group) => bits * 65_536n + BigInt(`0x${group}`), 0n)
}
