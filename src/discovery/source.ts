/** What every source of Kubernetes objects gives: the full current set, and everything wrong with it. */
import type { KubernetesObject, Problem } from '#resources'

export interface SourceReport {
  /** All problems that stand now, in a stable order; empty when everything is in force as written. */
  readonly problems: readonly Problem[]
}

/**
 * Called with the whole current set each time it or the report changes, never twice at once. Objects that did
 * not change are the same values as before. Call it with the first set before the source counts as open.
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
