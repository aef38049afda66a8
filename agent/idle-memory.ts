/** After a burst of work (pods enrolled, a world compiled) what it left free goes back to the system, once. */
import { startTimer } from '#base'
import { trimMemory } from '#linux'

/** Work comes in bursts: the end of one is waited for. */
const SETTLE_MS = 5_000

export class IdleMemory implements Disposable {
  #timer: Disposable | undefined

  /** At most once in five seconds it has an effect, however often it is called. */
  workDone(): void {
    this.#timer ??= startTimer(SETTLE_MS, () => {
      this.#timer = undefined
      trimMemory()
    })
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
  }
}
