/**
 * Looks after one enrolled pod: cheap questions each tick, a full look when an answer changed or time has passed, repair,
 * and a pause between repairs for someone who undoes each of them.
 */
import { type BackoffOptions, backoffMs } from '#base'
import { closeListeners } from '../broker/listeners.ts'
import { type EnrolledPod, listenersAreUp, repairListeners, repairPodRules, rulesFingerprint } from './enrolled-pod.ts'

const REPAIR_AGAIN: BackoffOptions = { baseMs: 250, maxMs: 5_000 }
const LOOK_AGAIN: BackoffOptions = { baseMs: 250, maxMs: 30_000 }
/** A rule replaced by one of equal size in the legacy back end is seen only by a full look. */
const FULL_LOOK_MS = 30_000

export interface Repairs {
  /** In words. */
  readonly listeners: readonly string[]
  readonly rules: readonly string[]
}

export class PodWatch {
  /** Of the last sound look, ms since the epoch; 0 for never. */
  verifiedAt = 0
  repairs = 0
  /** A full look is under way. */
  looking = false
  #fingerprint: string | undefined
  #nextAt = 0
  #nextFullAt = 0
  #repairsInARow = 0
  #failures = 0

  /** The pod's rules were put in anew: what was seen before says nothing. */
  reset(now: number): void {
    this.#fingerprint = undefined
    // Many pods enrolled at once are not looked at fully at once.
    this.#nextFullAt = now + FULL_LOOK_MS * (0.5 + Math.random() / 2)
  }

  /** Is it time to ask at all? */
  isDue(now: number): boolean {
    return !this.looking && now >= this.#nextAt
  }

  /** Asks the cheap questions: false when only a full look can tell. */
  isSound(pod: EnrolledPod, now: number): boolean {
    const unchanged = this.#fingerprint !== undefined && this.#fingerprint === rulesFingerprint(pod)
    if (!unchanged || !listenersAreUp(pod) || now >= this.#nextFullAt) return false
    this.verifiedAt = now
    return true
  }

  /**
   * The full look. `handOver` gives new listeners to the proxies; the dead ones are closed after it.
   * @throws what keeps it from looking or repairing; ask again after `failed`
   */
  async look(pod: EnrolledPod, handOver: () => void): Promise<Repairs> {
    this.#nextFullAt = Date.now() + FULL_LOOK_MS
    const fingerprint = rulesFingerprint(pod)
    const { wrong: listeners, dead } = repairListeners(pod)
    if (listeners.length > 0) handOver()
    closeListeners(dead)
    const rules = await repairPodRules(pod)
    const sound = listeners.length + rules.length === 0
    this.repairs += Number(listeners.length > 0) + Number(rules.length > 0)
    this.#fingerprint = sound ? fingerprint : undefined
    this.#repairsInARow = sound ? 0 : this.#repairsInARow + 1
    this.#failures = 0
    if (sound) this.verifiedAt = Date.now()
    const tooOften = this.#repairsInARow - 2
    this.#nextAt = tooOften > 0 ? Date.now() + backoffMs(tooOften, Math.random(), REPAIR_AGAIN) : 0
    return { listeners, rules }
  }

  failed(): void {
    this.#fingerprint = undefined
    this.#failures += 1
    this.#nextAt = Date.now() + backoffMs(this.#failures, Math.random(), LOOK_AGAIN)
  }
}
