/** One line of a container, as it was written, and whose it is. */

export type LogStream = 'stdout' | 'stderr'

export interface LogLine {
  /** RFC 3339 with up to nine digits, as the runtime wrote it; empty where the line had none. */
  readonly time: string
  readonly stream: LogStream
  readonly message: string
  /** It was longer than the bound, or its end was never written: a mark stands at the end of the message. */
  readonly cut: boolean
}

/** Whose container it is; what the cluster says of the pod is empty where only the folder is known. */
export interface LogPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly node: string
  readonly serviceAccount: string
  /** The Deployment, StatefulSet, … that people know it by. */
  readonly owner: string
  readonly labels: Readonly<Record<string, string>>
  readonly enrolled: boolean
}

export const MAX_LINE_BYTES = 1 << 20
export const CUT_MARK = ' … [cut: longer than 1 MiB]'
export const TORN_MARK = ' … [cut: its end was not written]'
