/**
 * The networks of a lab, made of its id, so that labs seldom share one; they may, being apart. Node `i` (from 0) has
 * 10.x.(y+i).0/24 and fd57:a:b:i::/64, its own address being number 1; the links of the fabric lie in the same
 * 10.x.0.0/16 and fd57:a:b::/48.
 */

export const MAX_NODES = 32
export const MAX_PODS_PER_NODE = 253

/** Addresses, or networks in CIDR notation, of both families. */
export interface AddressPair {
  readonly ipv4: string
  /** Undefined in a lab without IPv6. */
  readonly ipv6: string | undefined
}

/** Third octet of the links, counted from that of the first node; nodes end at MAX_NODES. */
const LINKS = 128

export class LabAddresses {
  readonly #seed: number
  readonly #ipv6: boolean

  constructor(labId: string, ipv6: boolean) {
    this.#seed = Number.parseInt(labId, 16)
    this.#ipv6 = ipv6
  }

  /** Number 1 is the node itself, its pods' gateway; pods have 2 to 254. */
  host(node: number, number: number): AddressPair {
    return this.#pair(`${this.#ipv4(node)}.${number}`, `${this.#ipv6Network(node)}::${number.toString(16)}`)
  }

  /** What spec.podCIDRs of the node names. */
  podNetwork(node: number): AddressPair {
    return this.#pair(`${this.#ipv4(node)}.0/24`, `${this.#ipv6Network(node)}::/64`)
  }

  /** Everything in the lab. */
  allNetworks(): AddressPair {
    return this.#pair(`${this.#ipv4Start}.0.0/16`, `${this.#ipv6Start}::/48`)
  }

  /** Both ends of a node's link, with prefix lengths. */
  link(node: number): { readonly fabric: AddressPair; readonly node: AddressPair } {
    const end = (number: number) =>
      this.#pair(`${this.#ipv4(LINKS)}.${4 * node + number}/30`, `${this.#ipv6Network(0xff00 + node)}::${number}/64`)
    return { fabric: end(1), node: end(2) }
  }

  get #ipv4Start(): string {
    return `10.${100 + ((this.#seed >> 8) % 100)}`
  }

  get #ipv6Start(): string {
    return `fd57:${(this.#seed >> 8).toString(16)}:${(256 + (this.#seed & 255)).toString(16)}`
  }

  #ipv4(network: number): string {
    return `${this.#ipv4Start}.${(this.#seed + network) & 255}`
  }

  /** Network 0 is written as it would be printed, without its zero. */
  #ipv6Network(network: number): string {
    return network === 0 ? this.#ipv6Start : `${this.#ipv6Start}:${network.toString(16)}`
  }

  #pair(ipv4: string, ipv6: string): AddressPair {
    return { ipv4, ipv6: this.#ipv6 ? ipv6 : undefined }
  }
}
