/**
 * Traced requests on their way to the agent: gathered, sent in batches, one at a time. Bounded: a pod that has more than
 * its share gives way; what is too much is counted.
 */
import type { ValueHandle } from '#telemetry'
import { FairQueue, renderBatch, renderEdge, renderRow, sharerOf, type TracedEdge, type TracedRequest } from '#tracing'

/** Takes a batch of so many requests; `done` when it has left. */
export type SendSpans = (count: number, batch: string, done: () => void) => void

const MAX_BATCH = 256
/** Clients choose how long paths are. */
const WAITING = { maxItems: 2_048, maxCharacters: 8 << 20 }
const FLUSH_MS = 250

export class SpanOutbox {
  readonly #send: SendSpans
  readonly #dropped: ValueHandle
  readonly #rows = new FairQueue<{ readonly edge: TracedEdge; readonly request: TracedRequest }>(WAITING)
  #timer: NodeJS.Timeout | undefined
  #isSending = false
  /** Told when nothing is left to send, once it is to end. */
  #ended: (() => void) | undefined

  constructor(send: SendSpans, dropped: ValueHandle) {
    this.#send = send
    this.#dropped = dropped
  }

  add(edge: TracedEdge, request: TracedRequest): void {
    const characters = request.path.length + request.authority.length + request.why.length
    const dropped = this.#rows.add(sharerOf(edge), { edge, request }, characters)
    if (dropped > 0) this.#dropped.inc(dropped)
    if (this.#rows.length >= MAX_BATCH || dropped > 0) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS)
  }

  /** Sends what there is, unless a batch is still leaving: then it follows that one. */
  flush(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#isSending || this.#rows.length === 0) return
    const batch = this.#rows.take(MAX_BATCH)
    const edges = new Map<TracedEdge, number>()
    const rows = batch.map(({ edge, request }) => {
      const known = edges.get(edge)
      if (known !== undefined) return renderRow(known, request)
      edges.set(edge, edges.size)
      return renderRow(edges.size - 1, request)
    })
    this.#isSending = true
    this.#send(batch.length, renderBatch([...edges.keys()].map(renderEdge), rows), () => {
      this.#isSending = false
      if (this.#rows.length === 0) this.#ended?.()
      else if (this.#rows.length >= MAX_BATCH || this.#ended !== undefined) this.flush()
      else this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS)
    })
  }

  /** Resolves when all has left. */
  close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = resolve
    this.flush()
    if (!this.#isSending) resolve()
    return promise
  }
}
