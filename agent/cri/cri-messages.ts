/** What the agent and the short-lived process that asks the container runtime say to each other. */

export interface CriQuestion {
  /** Path of the runtime's unix socket. */
  readonly socket: string
  readonly uids: readonly string[]
  readonly timeoutMs: number
}

/** A running sandbox of a pod that was asked about. */
export interface CriSandbox {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** As the runtime sees it; undefined when it does not tell. */
  readonly netns: string | undefined
  /** Of the sandbox's own process, in the runtime's process namespace. */
  readonly pid: number | undefined
  readonly addresses: readonly string[]
}

export type CriAnswer =
  | { readonly kind: 'sandboxes'; readonly sandboxes: readonly CriSandbox[] }
  | { readonly kind: 'failure'; readonly why: string }
