/** A request as routes see it that match on what the mesh knows: who calls, and which version of the API it wants. */
import {
  API_VERSION_FACT,
  type HttpFacts,
  isMeshName,
  SOURCE_LABEL_FACT,
  SOURCE_NAMESPACE_FACT,
  SOURCE_SERVICE_ACCOUNT_FACT,
  SOURCE_WORKLOAD_FACT,
  type Workload,
} from '#contract'
import { recogniseVersion, type VersioningPlan } from '#translation'
import type { RouteGroup, RouteRequest } from './route-group.ts'

/** `facts` itself where no match of the group looks at any of it, which is the common case. */
export function routeFacts(group: RouteGroup, request: RouteRequest, facts: HttpFacts): HttpFacts {
  return group.index?.readsMeshFacts === true ? new RouteFacts(facts, request.client, group.versions) : facts
}

class RouteFacts implements HttpFacts {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly authority: string
  readonly #facts: HttpFacts
  readonly #client: Workload | undefined
  readonly #versions: VersioningPlan | undefined

  constructor(facts: HttpFacts, client: Workload | undefined, versions: VersioningPlan | undefined) {
    this.method = facts.method
    this.path = facts.path
    this.query = facts.query
    this.authority = facts.authority
    this.#facts = facts
    this.#client = client
    this.#versions = versions
  }

  header(lowerCaseName: string): string | undefined {
    if (!isMeshName(lowerCaseName)) return this.#facts.header(lowerCaseName)
    const client = this.#client
    switch (lowerCaseName) {
      case API_VERSION_FACT:
        return this.#versions && recogniseVersion(this.#versions, this.#facts).version?.name
      case SOURCE_NAMESPACE_FACT:
        return client?.namespace
      case SOURCE_SERVICE_ACCOUNT_FACT:
        return client?.serviceAccount
      case SOURCE_WORKLOAD_FACT:
        return client?.owner
      default:
        return client && labelOf(client, lowerCaseName.slice(SOURCE_LABEL_FACT.length))
    }
  }
}

/** Header names have no case, keys of labels do: the one in lower case comes first, then the first by name. */
function labelOf({ labels }: Workload, written: string): string | undefined {
  const key = written.replaceAll('~1', '/')
  if (Object.hasOwn(labels, key)) return labels[key]
  const name = Object.keys(labels)
    .sort()
    .find((one) => one.toLowerCase() === key)
  return name === undefined ? undefined : labels[name]
}
