/** What taps are made of in tests. */
import type { TapFilter, TapSpec } from '#contract'

/** Everything fits it. */
export const NO_FILTER: TapFilter = {
  end: '',
  from: '',
  to: '',
  namespace: '',
  service: '',
  methods: [],
  pathPrefix: '',
  pathRegex: '',
  statuses: [],
  flags: [],
  minDurationMs: 0,
  headers: [],
}

export function tapSpec(changes: Partial<TapSpec> = {}): TapSpec {
  return { filter: NO_FILTER, showHeaders: false, showQueries: false, redact: [], maxPerSecond: 1000, ...changes }
}
