/**
 * Edges by what they stand for. A lookup builds one string, so it belongs to the start of a connection or to a
 * routing decision, not to a request. The tables are bounded by starting over when full: edges made again find
 * their counts where they were, because the series live in the families.
 */
import { RequestEdge, TcpEdge } from './edge.ts'
import type { EdgeDescription, IstioFamilies } from './istio-metrics.ts'

export const MAX_EDGES_DEFAULT = 4096

export class EdgeCache {
  readonly #families: IstioFamilies
  readonly #maxEdges: number
  readonly #requests = new Map<string, RequestEdge>()
  readonly #tcp = new Map<string, TcpEdge>()

  constructor(families: IstioFamilies, maxEdges: number = MAX_EDGES_DEFAULT) {
    this.#families = families
    this.#maxEdges = maxEdges
  }

  request(description: EdgeDescription): RequestEdge {
    const key = edgeKey(description)
    const known = this.#requests.get(key)
    if (known !== undefined) return known
    if (this.#requests.size >= this.#maxEdges) this.#requests.clear()
    const made = new RequestEdge(this.#families, description)
    this.#requests.set(key, made)
    return made
  }

  tcp(description: EdgeDescription): TcpEdge {
    const key = edgeKey(description)
    const known = this.#tcp.get(key)
    if (known !== undefined) return known
    if (this.#tcp.size >= this.#maxEdges) this.#tcp.clear()
    const made = new TcpEdge(this.#families, description)
    this.#tcp.set(key, made)
    return made
  }
}

/** Names of Kubernetes objects, label values and SPIFFE ids hold no line break, so it parts them. */
function edgeKey({ source, destination, service, protocol, securityPolicy, cluster }: EdgeDescription): string {
  return (
    `${source.namespace}\n${source.workload}\n${source.app}\n${source.version}\n${source.principal}\n` +
    `${destination.namespace}\n${destination.workload}\n${destination.app}\n${destination.version}\n` +
    `${destination.principal}\n${service.host}\n${service.name}\n${service.namespace}\n` +
    `${protocol}\n${securityPolicy}\n${cluster ?? ''}`
  )
}
