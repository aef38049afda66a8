/** What the page reads of the admin API's answers. Fields that it does not show are not named here. */

export interface StatusAnswer {
  readonly node: string
  readonly version: string
  readonly source: string
  readonly startedAt: number
  readonly ready: boolean
  readonly optedInPods: number
  readonly enrolledPods: number
  readonly issuer: string
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
  readonly connections: number
  readonly requestsInFlight: number
}

export interface ProblemAnswer {
  readonly severity: string
  readonly subject: string
  readonly message: string
  readonly remedy: string
}

interface MatchAnswer {
  readonly path: { readonly type: string; readonly value: string }
  readonly method?: string
}

export interface RouteAnswer {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly parents: readonly string[]
  readonly hostnames: readonly string[]
  readonly rules: readonly {
    readonly name?: string
    readonly matches: readonly MatchAnswer[]
    readonly backends: readonly {
      readonly weight: number
      readonly service: { readonly namespace: string; readonly name: string; readonly port: number }
      readonly invalid?: string
    }[]
  }[]
  readonly invalid: string
}

/** Fields besides the name are of some kinds only. */
export interface PolicyAnswer {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly action?: string
  readonly mode?: string
  readonly scope?: string
  readonly selector?: Readonly<Record<string, string>>
  readonly services?: readonly string[]
  readonly says?: readonly string[]
  readonly rules?: number
  readonly invalid?: string
}

export interface NodesAnswer {
  readonly nodes: readonly {
    readonly name: string
    /** The node of the agent that serves the page. */
    readonly own: boolean
  }[]
  readonly asksToken: boolean
}
