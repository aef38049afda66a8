export { type B3, B3_HEADERS, readB3 } from './b3.ts'
export { FairQueue } from './fair-queue.ts'
export { isSampled, RateBound, type RequestEnd, tailReason } from './sampling.ts'
export { type SpanCounts, SpanQueue, type SpanSink } from './span-queue.ts'
export { type Span, type SpanAttributes, spansOf } from './spans.ts'
export {
  type Retry,
  readBatch,
  renderBatch,
  renderEdge,
  renderRow,
  sharerOf,
  type TracedEdge,
  type TracedOnEdge,
  type TracedPeer,
  type TracedRequest,
} from './traced-request.ts'
export { readTraceparent, renderTraceparent, type TraceContext } from './traceparent.ts'
