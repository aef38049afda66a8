/**
 * The agent's side of its span thread: started with the first spans, started again when it dies. Never waited for: what it
 * cannot take is dropped, and counted.
 */
import type { MetricFamily } from '#contract'
import type { SpanCounts } from '#tracing'
import type { AgentLog } from '../log.ts'
import { WorkerThread } from '../worker-thread.ts'
import type { FromSpanWorker, SpanWorkerData, ToSpanWorker } from './span-messages.ts'

export interface SpanDeskOptions {
  readonly node: string
  readonly url: string
  readonly log: AgentLog
}

const MODULE = new URL('./span-worker.ts', import.meta.url)
/** Half of it is more than its queue can ever take. */
const HEAP_MIB = { old: 192, young: 8 }
/** Of what the thread has not read yet. */
const MAX_UNREAD_CHARACTERS = 16 << 20
/** Of one batch; proxies cut what clients can make long. */
const MAX_BATCH_CHARACTERS = 2 << 20
/** A thread that has just died is not started again at once. */
const RESTART_MS = 5_000
const STOP_TIMEOUT_MS = 3_000
const NONE: SpanCounts = { sent: 0, overflowed: 0, refused: 0 }

export class SpanDesk {
  readonly #thread: WorkerThread<ToSpanWorker, FromSpanWorker>
  /** Of batches, in the order in which they were handed over. */
  readonly #unread: { readonly count: number; readonly characters: number }[] = []
  #unreadCharacters = 0
  #overflowed = 0
  /** Of threads that are gone. */
  #before: SpanCounts = NONE
  #counts: SpanCounts = NONE
  #notBefore = 0
  #stopped = false

  constructor(options: SpanDeskOptions) {
    const { node, url, log } = options
    const workerData: SpanWorkerData = { node, url }
    this.#thread = new WorkerThread({
      module: MODULE,
      name: 'span',
      workerData,
      heapMib: HEAP_MIB,
      stopTimeoutMs: STOP_TIMEOUT_MS,
      log,
      onMessage: (message) => this.#heard(message),
      onEnded: () => this.#ended(),
    })
  }

  /** @param batch of so many requests, as a proxy told it */
  take(count: number, batch: string): void {
    if (this.#stopped) return
    const characters = batch.length
    const hasRoom = characters <= MAX_BATCH_CHARACTERS && this.#unreadCharacters + characters <= MAX_UNREAD_CHARACTERS
    if (!hasRoom || (!this.#thread.isRunning && Date.now() < this.#notBefore)) {
      this.#overflowed += count
      return
    }
    this.#unread.push({ count, characters })
    this.#unreadCharacters += characters
    this.#thread.say({ type: 'spans', batch })
  }

  families(): readonly MetricFamily[] {
    const counts = sum(this.#before, this.#counts)
    return [
      {
        name: 'weir_spans_sent_total',
        help: 'Traced requests whose spans were sent.',
        type: 'counter',
        series: [{ labels: {}, values: [counts.sent] }],
      },
      {
        name: 'weir_spans_dropped_total',
        help: 'Traced requests whose spans were not sent, by reason.',
        type: 'counter',
        series: [
          { labels: { reason: 'agent-queue' }, values: [this.#overflowed + counts.overflowed] },
          { labels: { reason: 'collector' }, values: [counts.refused] },
        ],
      },
    ]
  }

  /** Resolves when what was taken is sent, or a few seconds later. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#thread.stop({ type: 'stop' })
  }

  #heard(message: FromSpanWorker): void {
    switch (message.type) {
      case 'taken':
        this.#unreadCharacters -= this.#unread.shift()?.characters ?? 0
        break
      case 'counts':
        this.#counts = message.counts
        break
      default:
        message satisfies never
    }
  }

  #ended(): void {
    this.#before = sum(this.#before, this.#counts)
    this.#counts = NONE
    for (const { count } of this.#unread) this.#overflowed += count
    this.#unread.length = 0
    this.#unreadCharacters = 0
    this.#notBefore = Date.now() + RESTART_MS
  }
}

function sum(one: SpanCounts, other: SpanCounts): SpanCounts {
  return {
    sent: one.sent + other.sent,
    overflowed: one.overflowed + other.overflowed,
    refused: one.refused + other.refused,
  }
}
