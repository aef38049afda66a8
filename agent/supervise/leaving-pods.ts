/** Pods that leave, each until the last proxy has let go of it: also one that was not dealt it may hold connections into it. */

interface Leaving {
  readonly awaited: Set<number>
  readonly done: () => void
}

export class LeavingPods {
  readonly #leaving = new Map<string, Leaving>()

  has(uid: string): boolean {
    return this.#leaving.has(uid)
  }

  /** Resolves when all those proxies have let go of it, or it has come back. */
  wait(uid: string, proxyIds: Iterable<number>): Promise<void> {
    this.cameBack(uid)
    const { promise, resolve } = Promise.withResolvers<void>()
    const awaited = new Set(proxyIds)
    if (awaited.size === 0) resolve()
    else this.#leaving.set(uid, { awaited, done: resolve })
    return promise
  }

  /** Nobody waits for its end any more. */
  cameBack(uid: string): void {
    this.#leaving.get(uid)?.done()
    this.#leaving.delete(uid)
  }

  letGo(uid: string, proxyId: number): void {
    const leaving = this.#leaving.get(uid)
    if (leaving === undefined) return
    leaving.awaited.delete(proxyId)
    if (leaving.awaited.size === 0) this.cameBack(uid)
  }

  /** A process that has ended holds nothing. */
  letGoOfAll(proxyId: number): void {
    for (const uid of [...this.#leaving.keys()]) this.letGo(uid, proxyId)
  }
}
