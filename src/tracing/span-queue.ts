/**
 * Traced requests on their way to a collector: batch by batch, one at a time, the failed one again after a while. Bounded:
 * while the collector takes none, the oldest of the pod with the most go first. What was not sent is counted.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs, errorLine, startTimer } from '#base'
import { FairQueue } from './fair-queue.ts'
import { sharerOf, type TracedOnEdge } from './traced-request.ts'

export interface SpanSink {
  /** What went wrong; undefined when they were taken. */
  export(requests: readonly TracedOnEdge[]): Promise<SinkFailure | undefined>
  [Symbol.dispose](): void
}

export interface SinkFailure {
  readonly error: Error
  /** It will not be taken, however often it is sent. */
  readonly isFinal: boolean
}

export interface SpanQueueOptions {
  readonly node: string
  /** `http://collector:4318/v1/traces`. */
  readonly url: string
  readonly onProblem: (problem: string) => void
  /** Something was sent, or dropped. */
  readonly onCounts: (counts: SpanCounts) => void
  /** Monotonic, ms. */
  readonly now: () => number
  readonly random: () => number
  /** Loaded with the first batch; that of OTLP, unless a test has another. */
  readonly openSink?: () => Promise<SpanSink>
  /** Default 30 000. */
  readonly exportTimeoutMs?: number
}

/** Traced requests, not spans. */
export interface SpanCounts {
  readonly sent: number
  /** There was no room. */
  readonly overflowed: number
  /** The collector did not take them. */
  readonly refused: number
}

const MAX_BATCH = 256
/** Characters may take two bytes each: the thread has room for three times of that. */
const WAITING = { maxItems: 8_192, maxCharacters: 16 << 20 }
/** More may follow soon. */
const GATHER_MS = 100
const GIVE_UP_MS = 300_000
const BACKOFF = { baseMs: 500, maxMs: 15_000 }
/** Longer than the exporter takes with all its own tries. */
const EXPORT_TIMEOUT_MS = 30_000
/** For what is left when it ends. */
const LAST_MS = 2_000

export class SpanQueue {
  readonly #options: SpanQueueOptions
  readonly #stopped = new AbortController()
  readonly #waiting = new FairQueue<TracedOnEdge>(WAITING)
  #sink: SpanSink | undefined
  #running: Promise<void> | undefined
  #sent = 0
  #overflowed = 0
  #refused = 0
  #problem = ''

  constructor(options: SpanQueueOptions) {
    this.#options = options
  }

  add(requests: readonly TracedOnEdge[]): void {
    let surplus = 0
    for (const request of requests) surplus += this.#waiting.add(sharerOf(request.edge), request, request.characters)
    if (surplus > 0) {
      this.#overflowed += surplus
      this.#tell()
    }
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** What is left gets one more try, within two seconds. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    const { promise, resolve } = Promise.withResolvers<void>()
    const late = startTimer(LAST_MS, resolve)
    await Promise.race([promise, this.#running])
    late[Symbol.dispose]()
    this.#sink?.[Symbol.dispose]()
  }

  async #run(): Promise<void> {
    await this.#pause(GATHER_MS)
    while (this.#waiting.length > 0) {
      await this.#send(this.#waiting.take(MAX_BATCH))
      // Told to end, it tries all that is left once, unless nobody takes it.
      if (this.#stopped.signal.aborted && this.#problem !== '') return
    }
  }

  async #openOtlp(): Promise<SpanSink> {
    const { OtlpSpanSink } = await import('./otlp-span-sink.ts')
    return new OtlpSpanSink(this.#options.url, this.#options.node)
  }

  async #send(batch: readonly TracedOnEdge[]): Promise<void> {
    const { now, random, onProblem, url } = this.#options
    const begun = now()
    for (let failures = 1; ; failures++) {
      const failure = await this.#export(batch)
      if (failure === undefined) {
        this.#sent += batch.length
        this.#problem = ''
        this.#tell()
        return
      }
      const problem = `Spans not taken by ${url}: ${errorLine(failure.error)}`
      if (this.#problem === '') onProblem(problem)
      this.#problem = problem
      if (failure.isFinal || now() - begun > GIVE_UP_MS || this.#stopped.signal.aborted) {
        this.#refused += batch.length
        this.#tell()
        return
      }
      await this.#pause(backoffMs(failures, random(), BACKOFF))
    }
  }

  /** Never longer than a while, whatever a sink makes of what a collector answers: then another one is opened. */
  async #export(batch: readonly TracedOnEdge[]): Promise<SinkFailure | undefined> {
    this.#sink ??= await (this.#options.openSink?.() ?? this.#openOtlp())
    const sink = this.#sink
    const { promise, resolve } = Promise.withResolvers<SinkFailure>()
    const late = startTimer(this.#options.exportTimeoutMs ?? EXPORT_TIMEOUT_MS, () => {
      this.#sink = undefined
      sink[Symbol.dispose]()
      resolve({ error: new Error('the collector began to answer and did not end'), isFinal: false })
    })
    try {
      return await Promise.race([promise, sink.export(batch)])
    } finally {
      late[Symbol.dispose]()
    }
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopped.signal }).catch(() => undefined)
  }

  #tell(): void {
    this.#options.onCounts({ sent: this.#sent, overflowed: this.#overflowed, refused: this.#refused })
  }
}
