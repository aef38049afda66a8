/**
 * What verbs and the page read of the admin API's answers. Fields that neither shows are not named here; that the agent
 * answers so is checked by the compiler (test/unit/cli/cli.test.ts).
 */

export interface StatusAnswer {
  readonly node: string
  readonly version: string
  readonly pid: number
  readonly source: string
  readonly startedAt: number
  readonly ready: boolean
  readonly worldVersion: number
  readonly optedInPods: number
  readonly enrolledPods: number
  readonly repairs: number
  /** Endpoints that pods' requests are kept from for now, because they failed. */
  readonly ejections: readonly {
    readonly proxy: number
    readonly pod: string
    readonly service: string
    readonly endpoint: string
    readonly leftMs: number
  }[]
  /** Endpoints that do not pass their health checks. */
  readonly unhealthy: readonly {
    readonly proxy: number
    readonly source: string
    readonly service: string
    readonly endpoint: string
    readonly why: string
    readonly forMs: number
  }[]
  readonly proxies: readonly ProxyAnswer[]
  /** Pods of this node. */
  readonly quarantined: readonly {
    readonly pod: string
    readonly allow: readonly string[]
    readonly inForce: boolean
  }[]
  readonly issuer: string
  readonly identities: readonly IdentityAnswer[]
}

export interface IdentityAnswer {
  readonly spiffeId: string
  readonly state: string
  readonly serial: string
  readonly notAfterMs: number
  /** When it is renewed, or tried again. */
  readonly nextTryMs?: number
  readonly failingSinceMs: number
  readonly lastError: string
}

export interface ProxyAnswer {
  readonly id: number
  readonly state: string
  readonly pid: number
  readonly restarts: number
  readonly worldVersion: number
  readonly rssBytes: number
  readonly eventLoopLagMs: number
  readonly shedding: boolean
  /** Readers of live traffic. */
  readonly taps: number
  readonly pods: number
  readonly connections: number
  readonly requestsInFlight: number
}

export interface ProblemAnswer {
  readonly severity: 'error' | 'warning'
  readonly subject: string
  readonly message: string
  readonly remedy: string
}

export interface PodAnswer {
  readonly namespace: string
  readonly name: string
  readonly serviceAccount: string
  readonly node: string
  readonly addresses: readonly string[]
  readonly optedIn: boolean
  readonly state: string
  readonly detail: string
  readonly verifiedAt: number
  readonly repairs: number
  readonly proxies: readonly number[]
  readonly connections: number
  readonly requestsInFlight: number
}

export interface RouteAnswer {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly parents: readonly string[]
  readonly hostnames: readonly string[]
  readonly rules: readonly {
    readonly name?: string
    readonly matches: readonly RouteMatchAnswer[]
    readonly backends: readonly {
      readonly weight: number
      readonly service: { readonly namespace: string; readonly name: string; readonly port: number }
      readonly invalid?: string
    }[]
  }[]
  readonly invalid: string
}

export interface RouteMatchAnswer {
  readonly path: { readonly type: string; readonly value: string }
  readonly method?: string
  readonly headers: readonly { readonly name: string; readonly match: { readonly value: string } }[]
  readonly query: readonly { readonly name: string; readonly match: { readonly value: string } }[]
}

export interface PolicyAnswer {
  readonly kind: 'AuthorizationPolicy'
  readonly namespace: string
  readonly name: string
  readonly action: string
  readonly scope: string
  readonly selector: Readonly<Record<string, string>>
  readonly services: readonly string[]
  readonly rules: number
  readonly invalid: string
}

export interface TrafficPolicyAnswer {
  readonly kind: 'TrafficPolicy'
  readonly namespace: string
  readonly name: string
  readonly services: readonly string[]
  readonly applies: readonly string[]
  readonly says: readonly string[]
  readonly invalid: string
}

export interface PeerAuthenticationAnswer {
  readonly kind: 'PeerAuthentication'
  readonly namespace: string
  readonly name: string
  readonly scope: string
  readonly selector: Readonly<Record<string, string>>
  readonly mode: string
  readonly ports: Readonly<Record<string, string>>
  readonly pods: readonly string[]
}

export interface ExplainAnswer {
  readonly steps: readonly string[]
}

/** The agents that can be asked through one of them. */
export interface NodesAnswer {
  readonly nodes: readonly {
    readonly name: string
    /** The node of the agent that was asked. */
    readonly own: boolean
  }[]
  readonly asksToken: boolean
}
