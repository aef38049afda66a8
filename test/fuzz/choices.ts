/** Bytes read as decisions: so that one mutator serves what is made of structures too. Past their end, all is 0. */
export class Choices {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return Math.max(0, this.#bytes.length - this.#at)
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0
  }

  /** A whole number in [0, below), `below` at most 2^16. */
  below(below: number): number {
    return (below <= 256 ? this.byte() : this.byte() * 256 + this.byte()) % below
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)]
    if (picked === undefined) throw new Error('Nothing to pick from')
    return picked
  }

  bytes(length: number): Buffer {
    const taken = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return taken
  }

  list<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make)
  }
}
