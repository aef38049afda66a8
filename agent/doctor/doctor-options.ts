/** What the doctor of a running agent is told of it. */
import type { MeshObject } from '#contract'
import type { AskedApi } from './api-server.ts'
import type { CniPlace } from './cni-facts.ts'

export interface DoctorOptions {
  readonly node: string
  readonly stateDir: string
  readonly version: string
  /** Where Weir is installed. */
  readonly namespace: string
  /** In a cluster. */
  readonly api?: AskedApi | undefined
  /** Since when the API server has not answered, ms since the epoch; undefined while it does. */
  readonly staleSince?: (() => number | undefined) | undefined
  /** Where the agent keeps the CNI plugin; undefined where it does not. */
  readonly cni?: CniPlace | undefined
  world(): readonly MeshObject[]
  /** Pods that the agent has to do with now, by uid. */
  enrolled(): ReadonlySet<string>
  identities(): readonly { readonly spiffeId: string; readonly notBeforeMs: number }[]
  now(): number
  /** Default /run/netns. */
  readonly netnsDir?: string | undefined
}
