/** Whether the API server answers at all, from what all requests to it see; and since when not. */
import type { KubernetesError } from '#kubernetes'
import type { Problem } from '#resources'

export interface ApiHealthOptions {
  readonly server: string
  /** How long nothing may answer before it counts, ms: a restart is no news. */
  readonly staleAfterMs: number
  /** Wall clock, ms. */
  readonly now: () => number
  readonly onChange: () => void
}

export class ApiHealth implements Disposable {
  readonly #options: ApiHealthOptions
  #lastAnswerAt: number | undefined
  readonly #openedAt: number
  #timer: NodeJS.Timeout | undefined
  #why = ''
  #stale = false

  constructor(options: ApiHealthOptions) {
    this.#options = options
    this.#openedAt = options.now()
  }

  /** Time of the last answer, ms since 1970; undefined while it answers. */
  get staleSince(): number | undefined {
    return this.#stale ? (this.#lastAnswerAt ?? this.#openedAt) : undefined
  }

  get problem(): Problem | undefined {
    const since = this.staleSince
    if (since === undefined) return undefined
    const message = `The API server ${this.#options.server} has not answered since ${new Date(since).toISOString()} (${this.#why})`
    const effect = this.#lastAnswerAt === undefined ? '' : ': serving goes on with what was known'
    return { message: `${message}${effect}` }
  }

  answered(): void {
    this.#lastAnswerAt = this.#options.now()
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (!this.#stale) return
    this.#stale = false
    this.#options.onChange()
  }

  failed(error: KubernetesError): void {
    if (!error.isOutage) {
      if (error.status > 0) this.answered()
      return
    }
    if (this.#stale || this.#timer !== undefined) return
    this.#why = error.message
    this.#timer = setTimeout(() => {
      this.#stale = true
      this.#options.onChange()
    }, this.#options.staleAfterMs)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}
