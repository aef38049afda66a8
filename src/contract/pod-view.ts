/** All that an agent knows of one pod, as `/pods/NAMESPACE/NAME`, `weir pods NAMESPACE/NAME` and the page tell it. */
export interface PodView {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  /** Empty while it is not scheduled. */
  readonly node: string
  /** It is on the node of the agent that was asked; elsewhere that node's agent knows more. */
  readonly here: boolean
  readonly addresses: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly optedIn: boolean
  readonly ready: boolean
  /** `enrolled`, `enrolling`, `failed`, `draining` or `outside`. */
  readonly state: string
  /** Why it is not enrolled; empty when there is nothing to say. */
  readonly detail: string
  /** Milliseconds since the epoch when its rules and listeners were last found right; 0 for never. */
  readonly verifiedAt: number
  readonly repairs: number
  readonly proxies: readonly number[]
  readonly connections: number
  readonly requestsInFlight: number
  /** Absent while it is not in quarantine; the blocks that are let through. */
  readonly quarantine?: { readonly allow: readonly string[]; readonly inForce: boolean }
  readonly identity: PodIdentity
  /** `namespace/name` of the Services that have it as an endpoint. */
  readonly services: readonly string[]
  /** Routes of those Services, as they are told for all. */
  readonly routes: readonly NamedObject[]
  /** What judges what comes to it, or says how it is to come. */
  readonly policies: readonly NamedObject[]
  /** Of its network namespace, as the kernel has them: others' too. */
  readonly rules: readonly KernelRules[]
  /** Why there are none to be shown; empty otherwise. */
  readonly rulesProblem: string
}

export interface PodIdentity {
  readonly spiffeId: string
  /** `none` where no pod of the account is enrolled on this node; else as `/status` has it. */
  readonly state: string
  readonly serial: string
  /** Milliseconds since the epoch; 0 while there is no certificate. */
  readonly notAfterMs: number
  readonly lastError: string
}

export interface NamedObject {
  readonly kind: string
  /** `namespace/name`. */
  readonly name: string
  /** In short what it does; why it is invalid, if it is. */
  readonly says: string
}

export interface KernelRules {
  readonly family: 4 | 6
  /** As iptables-save prints them, without its comments. */
  readonly text: string
}
