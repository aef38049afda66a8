/**
 * Takes what is in the outbox to the receiver: one message at a time, again and again until it arrives. Whoever fills the
 * outbox waits for nothing.
 */
import { readFile } from 'node:fs/promises'
import { backoffMs, errorLine, startTimer } from '#base'
import { type AlertOutbox, type AlertReceiver, apiMessage, type OutboxMessage, webhookMessage } from '#observer/alerts'
import { type PostOutcome, postJson } from './post-json.ts'

export interface DelivererOptions {
  readonly outbox: AlertOutbox
  /** After each that arrived. */
  onDelivered(): void
  /** The first that did not, and then the first that did again (empty). */
  onTrouble(why: string): void
}

const BACKOFF = { baseMs: 1_000, maxMs: 60_000 }

export class Deliverer implements Disposable {
  readonly #options: DelivererOptions
  readonly #abort = new AbortController()
  readonly #counts = { delivered: 0, refused: 0, failed: 0 }
  #receiver: AlertReceiver | undefined
  #running = false
  #retry: Disposable | undefined
  #failures = 0
  #problem = ''
  #failingSinceMs = 0
  #deliveredMs = 0

  constructor(options: DelivererOptions) {
    this.#options = options
  }

  /** Tries, by what became of them, since the start. */
  get counts(): Readonly<Record<PostOutcome['outcome'], number>> {
    return this.#counts
  }

  /** Why the last try failed; empty when it did not. */
  get problem(): string {
    return this.#problem
  }

  /** ms since the epoch; 0 while it does not fail. */
  get failingSinceMs(): number {
    return this.#failingSinceMs
  }

  get deliveredMs(): number {
    return this.#deliveredMs
  }

  /** Another one, or the same in another way: tried at once. */
  setReceiver(receiver: AlertReceiver | undefined): void {
    this.#receiver = receiver
    this.#failures = 0
    this.#problem = ''
    this.#failingSinceMs = 0
    this.#retry?.[Symbol.dispose]()
    this.#retry = undefined
    this.kick()
  }

  /** Something may be due. */
  kick(): void {
    if (this.#running || this.#retry !== undefined || this.#abort.signal.aborted) return
    this.#running = true
    void this.#run().finally(() => {
      this.#running = false
    })
  }

  [Symbol.dispose](): void {
    this.#abort.abort()
    this.#retry?.[Symbol.dispose]()
  }

  async #run(): Promise<void> {
    const { outbox } = this.#options
    for (;;) {
      const receiver = this.#receiver
      if (receiver === undefined) return
      const [message] = outbox.due(Date.now(), receiver.repeatEveryMs)
      if (message === undefined) return
      const { outcome, why } = await this.#send(receiver, message)
      if (this.#abort.signal.aborted) return
      this.#counts[outcome]++
      if (outcome === 'delivered') {
        this.#failures = 0
        this.#deliveredMs = Date.now()
        outbox.delivered(message, this.#deliveredMs)
        this.#setProblem('')
        this.#options.onDelivered()
        continue
      }
      // Meanwhile it was told to go elsewhere.
      if (receiver !== this.#receiver) continue
      this.#setProblem(why)
      this.#failures++
      this.#retry = startTimer(backoffMs(this.#failures, Math.random(), BACKOFF), () => {
        this.#retry = undefined
        this.kick()
      })
      return
    }
  }

  async #send(receiver: AlertReceiver, { group, alerts }: OutboxMessage): Promise<PostOutcome> {
    const { url, format, headers, bearerTokenFile, caFile, timeoutMs } = receiver
    try {
      const token = bearerTokenFile === undefined ? undefined : (await readFile(bearerTokenFile, 'utf8')).trim()
      const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8')
      const message =
        format === 'webhook' ? webhookMessage(receiver, group, alerts) : apiMessage(receiver, alerts, Date.now())
      return await postJson({
        url,
        body: JSON.stringify(message),
        headers: {
          'user-agent': 'weir',
          ...headers,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        ca,
        timeoutMs,
        signal: this.#abort.signal,
      })
    } catch (thrown) {
      return { outcome: 'failed', why: errorLine(thrown) }
    }
  }

  #setProblem(why: string): void {
    if ((why === '') !== (this.#problem === '')) {
      this.#failingSinceMs = why === '' ? 0 : Date.now()
      this.#options.onTrouble(why)
    }
    this.#problem = why
  }
}
