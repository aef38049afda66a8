/** What every source of Kubernetes objects gives: the full current set, and everything wrong with it. */
import type { KubernetesObject, Problem } from '#resources'
import type { ObjectChange } from './object-set.ts'

export interface SourceReport {
  /** All problems that stand now, in a stable order; empty when everything is in force as written. */
  readonly problems: readonly Problem[]
  /** What differs from the set told before. Absent: the source does not follow it, the sets are to be compared. */
  readonly change?: ObjectChange
}

/**
 * Called with the whole current set each time it or the report changes, never twice at once. Objects that did
 * not change are the same values as before. Where the report has a `change`, the set is one list that changes with
 * the next call: copy what is to be kept. Call it with the first set before the source counts as open.
 */
export type OnChange = (objects: readonly KubernetesObject[], report: SourceReport) => void

export interface SourceOptions {
  readonly onChange: OnChange
  /** Ends the source, like disposing of it. */
  readonly signal?: AbortSignal
}

/** After disposal onChange is not called again. */
export type ObjectSource = AsyncDisposable

/** The source cannot be opened; the message names what is missing and the remedy. */
export class SourceError extends Error {
  readonly code = 'WEIR_DISCOVERY_UNREADABLE'
  override readonly name = 'SourceError'
}
