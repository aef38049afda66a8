/** The open watches of the fake API server: what they are told, and what is done to them. */
import type { ServerResponse } from 'node:http'
import { type Change, type FakeObjects, seenAs } from './fake-objects.ts'

interface Watcher {
  readonly plural: string
  readonly selector: string
  readonly namespace: string | undefined
  readonly apiVersion: string
  readonly response: ServerResponse
}

export class FakeWatches {
  readonly #watchers = new Set<Watcher>()
  #waiting: (() => void)[] = []
  #held: (() => void)[] | undefined

  count(plural: string): number {
    return this.#of(plural).length
  }

  /** Resolves when as many watches of that resource are open as said. */
  async opened(plural: string, count = 1): Promise<void> {
    while (this.count(plural) !== count) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Writes this to the watches of a resource, as it is. */
  sendText(plural: string, text: string | Uint8Array): void {
    for (const { response } of this.#of(plural)) response.write(text)
  }

  /** Ends them in order, as after their timeoutSeconds. */
  end(plural: string): void {
    for (const watcher of this.#of(plural)) {
      this.#watchers.delete(watcher)
      watcher.response.end()
    }
  }

  /** Breaks their connections. */
  cut(plural: string): void {
    for (const watcher of this.#of(plural)) {
      this.#watchers.delete(watcher)
      watcher.response.destroy()
    }
  }

  /** What happens from now on is kept back until `release`. */
  hold(): void {
    this.#held ??= []
  }

  release(order: 'in order' | 'reversed' = 'in order'): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const tell of order === 'reversed' ? held.reverse() : held) tell()
  }

  /** Their connections are gone. */
  forget(): void {
    this.#watchers.clear()
  }

  bookmark(plural: string, kind: string, version: number): void {
    for (const watcher of this.#of(plural)) {
      const { apiVersion } = watcher
      write(watcher, 'BOOKMARK', { apiVersion, kind, metadata: { resourceVersion: String(version) } })
    }
  }

  tell(plural: string, change: Change): void {
    const tell = (): void => {
      for (const watcher of this.#of(plural)) tellWatcher(watcher, change)
    }
    if (this.#held === undefined) tell()
    else this.#held.push(tell)
  }

  open(watcher: Watcher, store: FakeObjects, query: Readonly<Record<string, string>>): void {
    const { response } = watcher
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    const changes = store.since(Number(query['resourceVersion'] ?? 0))
    if (changes === undefined) {
      const message = 'too old resource version'
      write(watcher, 'ERROR', { kind: 'Status', status: 'Failure', code: 410, reason: 'Expired', message })
      response.end()
      return
    }
    this.#watchers.add(watcher)
    const seconds = Number(query['timeoutSeconds'] ?? 0)
    const timer = seconds > 0 ? setTimeout(() => response.end(), seconds * 1000) : undefined
    response.on('close', () => {
      clearTimeout(timer)
      this.#watchers.delete(watcher)
      this.#wake()
    })
    for (const change of changes) tellWatcher(watcher, change)
    this.#wake()
  }

  #of(plural: string): readonly Watcher[] {
    return [...this.#watchers].filter((watcher) => watcher.plural === plural)
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

function tellWatcher(watcher: Watcher, change: Change): void {
  const { namespace, selector, apiVersion } = watcher
  if (namespace !== undefined && change.object.metadata.namespace !== namespace) return
  const type = seenAs(change, selector)
  if (type !== undefined) write(watcher, type, { ...change.object, apiVersion })
}

function write({ response }: Watcher, type: string, object: object): void {
  response.write(`${JSON.stringify({ type, object })}\n`)
}
