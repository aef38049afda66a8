/** A reader of an agent's /tap, and what it has been told so far. */
import { WebSocket } from 'ws'

export interface TapEvent {
  readonly kind: 'request' | 'connection' | 'opened' | 'lost' | 'live' | 'problem'
  readonly [name: string]: unknown
}

export class TapReader implements Disposable {
  readonly socket: WebSocket
  readonly events: TapEvent[] = []
  /** As they came. */
  text = ''
  readonly closed: Promise<number>
  readonly #closed = Promise.withResolvers<number>()
  #waits: { readonly found: () => boolean; readonly resolve: () => void }[] = []

  /** @param socketPath of the admin API */
  constructor(socketPath: string, query: string) {
    this.socket = new WebSocket(`ws+unix:${socketPath}:/tap?${query}`)
    this.closed = this.#closed.promise
    this.socket.on('message', (data) => {
      this.text += String(data)
      for (const line of String(data).split('\n')) if (line !== '') this.events.push(JSON.parse(line))
      for (const { found, resolve } of this.#waits) if (found()) resolve()
      this.#waits = this.#waits.filter(({ found }) => !found())
    })
    this.socket.on('error', () => {})
    this.socket.on('close', (code) => this.#closed.resolve(code))
  }

  /** The first that fits, waited for. */
  async until(fits: (event: TapEvent) => boolean): Promise<TapEvent> {
    const found = () => this.events.some(fits)
    if (!found()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waits.push({ found, resolve })
      await promise
    }
    const event = this.events.find(fits)
    if (event === undefined) throw new Error('It was there a moment ago')
    return event
  }

  /** Resolves when nothing is missed from now on. */
  async live(): Promise<this> {
    await this.until(({ kind }) => kind === 'live')
    return this
  }

  get shown(): readonly TapEvent[] {
    return this.events.filter(({ kind }) => kind === 'request' || kind === 'connection')
  }

  [Symbol.dispose](): void {
    this.socket.terminate()
  }
}
