/**
 * Ends a thread of the agent before its heap is full. Node ends one that has reached its limit, but a single allocation
 * that is larger than what is left then (a table that grows to twice its size) aborts the whole process.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import { WeirError } from '#base'

/** Of the limit, in use after all that can be collected was: a table that is all of it needs as much again to grow. */
export const FULL = 0.5
/** Code of that error. */
export const HEAP_FULL = 'WEIR_THREAD_HEAP_FULL'

/** To be called in the thread. Once it is full, an error is thrown there that nobody catches. */
export function guardHeap(): void {
  const observer = new PerformanceObserver((list) => {
    if (!list.getEntries().some(isMajor)) return
    const { used_heap_size: usedBytes, heap_size_limit: limitBytes } = getHeapStatistics()
    if (usedBytes > FULL * limitBytes) throw new WeirError(HEAP_FULL, 'The thread has used what it may')
  })
  observer.observe({ entryTypes: ['gc'] })
}

function isMajor(entry: object): boolean {
  const detail = 'detail' in entry ? entry.detail : undefined
  const known = typeof detail === 'object' && detail !== null && 'kind' in detail
  return known && detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR
}
