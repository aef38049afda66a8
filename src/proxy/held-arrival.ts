/** A connection to the tunnel port of a pod whose certificate is yet to come: it waits, unread. */
import type { HeldConnection } from './pod.ts'

export interface ArrivalOwner {
  /** Takes the connection over; false while that cannot be. */
  admit(): boolean
  refuse(why: string): void
  /** Once, after either. */
  onOver(): void
}

export class HeldArrival implements HeldConnection {
  readonly #deadline: number
  readonly #owner: ArrivalOwner

  /** @param deadline in `sweep`'s ms */
  constructor(deadline: number, owner: ArrivalOwner) {
    this.#deadline = deadline
    this.#owner = owner
  }

  sweep(now: number): void {
    if (this.#owner.admit()) this.#owner.onOver()
    else if (now > this.#deadline) this.#refuse('the pod has no certificate yet')
  }

  #refuse(why: string): void {
    this.#owner.refuse(why)
    this.#owner.onOver()
  }

  /** Nothing runs through it yet. */
  rejudge(): void {}

  drain(): void {
    this.#refuse('the pod is gone')
  }

  abort(): void {
    this.#refuse('the pod is gone')
  }
}
