/** Alerts, loaded when there is a file of rules: in a cluster the agent looks where one may be mounted. */
import { existsSync } from 'node:fs'
import { errorLine } from '#base'
import type { LookTold } from '../watch.ts'
import type { AlertDesk, AlertDeskOptions } from './alert-desk.ts'

export class WantedAlerts implements AsyncDisposable {
  readonly #options: AlertDeskOptions
  #desk: AlertDesk | undefined
  #opening: Promise<void> | undefined
  #ended = false

  constructor(options: AlertDeskOptions) {
    this.#options = options
  }

  /** Undefined while there never was a file. */
  get desk(): AlertDesk | undefined {
    return this.#desk
  }

  /** Returns at once. */
  look(told: LookTold): void {
    this.#desk?.look(told)
    if (this.#desk !== undefined || this.#ended || !existsSync(this.#options.file)) return
    this.#opening ??= this.#open()
      .catch((thrown: unknown) => this.#options.log.error({ why: errorLine(thrown) }, 'alerts not begun'))
      .finally(() => {
        this.#opening = undefined
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await this.#opening
    await this.#desk?.[Symbol.asyncDispose]()
  }

  async #open(): Promise<void> {
    const { AlertDesk } = await import('./alert-desk.ts')
    this.#desk = await AlertDesk.open(this.#options)
  }
}
