/** One health check of one endpoint: when it is due next, and the one that is under way. */
import type { Endpoint, HealthCheck } from '#contract'
import { newEndpointHealth } from '#routing'
import type { HealthView } from './health-view.ts'
import type { ProbeRun } from './probe-run.ts'

export class EndpointCheck {
  readonly view: HealthView
  readonly endpoint: Endpoint
  /** Of its pod: whoever has the address later is another. */
  readonly uid: string
  readonly check: HealthCheck
  readonly health = newEndpointHealth()
  run: ProbeRun | undefined
  #timer: NodeJS.Timeout | undefined
  stopped = false

  constructor(view: HealthView, endpoint: Endpoint, uid: string, check: HealthCheck) {
    this.view = view
    this.endpoint = endpoint
    this.uid = uid
    this.check = check
  }

  after(ms: number, due: () => void): void {
    if (!this.stopped) this.#timer = setTimeout(due, ms)
  }

  /** The one under way comes to nothing. */
  stop(): void {
    this.stopped = true
    clearTimeout(this.#timer)
    this.run?.cancel()
    this.run = undefined
  }
}
