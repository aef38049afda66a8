/** How many wrong tokens come from where: beyond a few, none is compared for a while. Bounded, whoever asks. */

/** Wrong ones that an address may send at once, and then one more each second. */
const AT_ONCE = 10
const PER_SECOND = 1
const MAX_ADDRESSES = 256
/** Where more addresses than that send wrong ones, those that are not known share one account. */
const OTHERS = 'others'

interface Account {
  wrong: number
  atMs: number
}

export class WrongTokens {
  readonly #accounts = new Map<string, Account>()

  mayTry(address: string, nowMs: number): boolean {
    const account = this.#accounts.get(keyOf(address)) ?? (this.#isFull() ? this.#accounts.get(OTHERS) : undefined)
    return account === undefined || left(account, nowMs) < AT_ONCE
  }

  note(address: string, nowMs: number): void {
    const key = keyOf(address)
    if (!this.#accounts.has(key) && this.#isFull()) this.#forget(nowMs)
    const name = this.#accounts.has(key) || !this.#isFull() ? key : OTHERS
    const account = this.#accounts.get(name) ?? { wrong: 0, atMs: nowMs }
    this.#accounts.set(name, { wrong: Math.min(AT_ONCE, left(account, nowMs)) + 1, atMs: nowMs })
  }

  #isFull(): boolean {
    return this.#accounts.size >= MAX_ADDRESSES
  }

  #forget(nowMs: number): void {
    for (const [key, account] of this.#accounts) if (left(account, nowMs) === 0) this.#accounts.delete(key)
  }
}

function left({ wrong, atMs }: Account, nowMs: number): number {
  return Math.max(0, wrong - (Math.max(0, nowMs - atMs) / 1000) * PER_SECOND)
}

/** Of IPv6 a whole /64 is one: it is what a single machine commonly has. */
function keyOf(address: string): string {
  const ipv4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (ipv4 !== undefined) return ipv4
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - groups.length - after.length)).fill('0')
  return [...groups, ...zeros, ...after].slice(0, 4).join(':')
}
