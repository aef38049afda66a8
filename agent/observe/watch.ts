/**
 * Looks at the node again and again, and keeps what is wrong: for those who ask, and for those who want to hear of each look.
 * One that takes long delays the next; one that fails is told in the log, and the next is tried.
 */
import { startInterval } from '#base'
import type { DiagnoseAnswer, Finding, MetricFamily, TrafficAnswer } from '#contract'
import { diagnose, LookHistory, secondsOf } from '#observer'
import type { AgentLog } from '../log.ts'
import { type LookParts, LookTaker } from './take-look.ts'

export interface WatchOptions extends LookParts {
  readonly log: AgentLog
}

export interface LookTold {
  /** ms since the epoch. */
  readonly atMs: number
  /** As `/traffic` tells it: two such answers make a rate (`trafficBetween`). */
  readonly traffic: TrafficAnswer
  /** All that the proxies have counted until now, together. */
  readonly families: readonly MetricFamily[]
  readonly findings: readonly Finding[]
}

export class Watch implements Disposable {
  /** Called after each look. */
  onLook: ((told: LookTold) => void) | undefined
  readonly #options: WatchOptions
  readonly #taker: LookTaker
  readonly #history = new LookHistory()
  readonly #timer: Disposable
  #findings: readonly Finding[] = []
  #looking: Promise<void> | undefined
  #looks = 0
  #ended = false

  constructor(options: WatchOptions) {
    this.#options = options
    this.#taker = new LookTaker(options)
    this.#timer = startInterval(options.lookMs, () => void this.#look())
    void this.#look()
  }

  /** Undefined while no look has succeeded. */
  async diagnose(): Promise<DiagnoseAnswer | undefined> {
    if (this.#looks === 0) await this.#look()
    if (this.#looks === 0) return undefined
    return {
      node: this.#options.config.node,
      atMs: this.#history.last?.atMs ?? Date.now(),
      windowMs: Math.round(secondsOf(this.#history.looks) * 1000),
      looks: this.#looks,
      lookMs: this.#options.lookMs,
      findings: this.#findings,
    }
  }

  [Symbol.dispose](): void {
    this.#ended = true
    this.#timer[Symbol.dispose]()
  }

  #look(): Promise<void> {
    this.#looking ??= this.#lookOnce()
      .catch((thrown: unknown) => this.#options.log.warn({ err: thrown }, 'look failed'))
      .finally(() => {
        this.#looking = undefined
      })
    return this.#looking
  }

  async #lookOnce(): Promise<void> {
    const { look, families } = await this.#taker.take(
      () => ({ nowMs: performance.now(), atMs: Date.now() }),
      this.onLook !== undefined,
    )
    if (this.#ended) return
    this.#history.add(look)
    this.#looks += 1
    this.#findings = diagnose(this.#history)
    if (this.onLook === undefined) return
    const merged = families()
    this.onLook({
      atMs: look.atMs,
      traffic: {
        node: this.#options.config.node,
        atMs: performance.now(),
        families: merged.filter(({ name }) => name.startsWith('istio_')),
      },
      families: merged,
      findings: this.#findings,
    })
  }
}
