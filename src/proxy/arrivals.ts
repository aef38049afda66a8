/**
 * Who may open further tunnels to a pod. A connection costs something before its peer has proved anything: those are
 * counted apart, so that strangers take nothing from peers, and from each other only what one address may have.
 */

/** Of one address, whose peers have not been verified yet. */
const MAX_UNVERIFIED_PER_ADDRESS = 32
const MAX_UNVERIFIED = 1024
/** Of one address: a pod needs one, and a few more for a moment; where nodes hide their pods' addresses, all share one. */
const MAX_PER_ADDRESS = 256

interface Counts {
  all: number
  unverified: number
}

/** One connection, from its arrival to its end. */
export interface Arrival {
  /** The peer has proved who it is. */
  verified(): void
  over(): void
}

export class Arrivals {
  readonly #byAddress = new Map<string, Counts>()
  #unverified = 0
  #all = 0

  get size(): number {
    return this.#all
  }

  /** Why no further one may come from there now; undefined when one may. */
  refusal(address: string): string | undefined {
    const counts = this.#byAddress.get(address)
    if (counts !== undefined && counts.all >= MAX_PER_ADDRESS) return `${address} holds too many tunnels`
    if (counts !== undefined && counts.unverified >= MAX_UNVERIFIED_PER_ADDRESS) {
      return `${address} has too many handshakes under way`
    }
    return this.#unverified >= MAX_UNVERIFIED ? 'too many handshakes are under way' : undefined
  }

  begin(address: string): Arrival {
    const counts = this.#byAddress.get(address) ?? { all: 0, unverified: 0 }
    this.#byAddress.set(address, counts)
    counts.all++
    counts.unverified++
    this.#unverified++
    this.#all++
    let state: 'unverified' | 'verified' | 'over' = 'unverified'
    const prove = (): void => {
      if (state !== 'unverified') return
      state = 'verified'
      counts.unverified--
      this.#unverified--
    }
    return {
      verified: prove,
      over: () => {
        if (state === 'over') return
        prove()
        state = 'over'
        counts.all--
        this.#all--
        if (counts.all === 0) this.#byAddress.delete(address)
      },
    }
  }
}
