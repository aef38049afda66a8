/** What the agent and its log thread say to each other, besides what all threads do (`FromAnyWorker`). */
import type { LogPod, LogQuery, LogsConfig, LogsStatus } from '#logs'

export interface LogWorkerData {
  readonly config: LogsConfig
}

export type ToLogWorker =
  | { readonly type: 'pods'; readonly pods: readonly LogPod[] }
  | { readonly type: 'begin' }
  | { readonly type: 'open'; readonly id: number; readonly query: LogQuery }
  | { readonly type: 'acknowledge'; readonly id: number }
  | { readonly type: 'close'; readonly id: number }
  | { readonly type: 'status'; readonly id: number }
  | { readonly type: 'stop' }

export type FromLogWorker =
  | { readonly type: 'frame'; readonly id: number; readonly text: string }
  /** The reader's last word; `problem` is empty when nothing is wrong. */
  | { readonly type: 'ended'; readonly id: number; readonly problem: string }
  | { readonly type: 'status'; readonly id: number; readonly status: LogsStatus }
