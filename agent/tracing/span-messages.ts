/** What the agent and its span thread say to each other, besides what all threads do (`FromAnyWorker`). */
import type { SpanCounts } from '#tracing'

export interface SpanWorkerData {
  readonly node: string
  readonly url: string
}

export type ToSpanWorker =
  /** As a proxy told it. */
  { readonly type: 'spans'; readonly batch: string } | { readonly type: 'stop' }

export type FromSpanWorker =
  /** A batch was read. */
  { readonly type: 'taken' } | { readonly type: 'counts'; readonly counts: SpanCounts }
