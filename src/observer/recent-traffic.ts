/** Sums over windows of looks. */

import type { LookHistory } from './look-history.ts'
import type { EdgeSample } from './node-look.ts'

/** Now, of those edges: requests, and failures for those reasons. */
export function recentSum(
  history: LookHistory,
  isMeant: (sample: EdgeSample) => boolean,
  reasons: RegExp,
): { readonly requests: number; readonly failed: number } {
  let requests = 0
  let failed = 0
  for (const { edges } of history.recent) {
    for (const sample of edges) {
      if (!isMeant(sample)) continue
      requests += sample.requests
      for (const [reason, count] of Object.entries(sample.reasons)) if (reasons.test(reason)) failed += count
    }
  }
  return { requests, failed }
}
