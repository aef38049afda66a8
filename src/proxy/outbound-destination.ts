/**
 * Where a connection of a pod leads, as far as address, port and the name asked for tell: to a Service, a pod, a declared
 * host, or out of the mesh. Looked up anew when the world has changed; a connection to a pod stays that pod's.
 */
import type { MeshService, Verdict, Workload } from '#contract'
import type { Destination, Snapshot } from '#mesh'
import {
  decideEgress,
  declaresHosts,
  type EgressDecision,
  routeGroupOf,
  type StreamRoutes,
  streamRoutesOf,
} from '#routing'
import type { Pod } from './pod.ts'
import type { SocketName } from './socket-name.ts'
import type { Targets } from './targets.ts'

/** Does an HTTPRoute decide for this client? */
function hasHttpRoutes(
  snapshot: Snapshot,
  { service, port }: Extract<Destination, { kind: 'service' }>,
  client: Workload | undefined,
): boolean {
  return (
    snapshot.routesOf(`${service.namespace}/${service.name}`).length > 0 &&
    routeGroupOf(snapshot, { client, service, port }).index !== undefined
  )
}

/** A connection to a pod is to that pod alone, as it would be without the mesh. */
export const GONE = { kind: 'gone', why: 'the pod that the connection was made to is gone' } as const

/** Declared by its name alone, or not at all. */
export type Outside = Extract<EgressDecision, { kind: 'host' | 'undeclared' }>
/** As the client speaks to it; `other`: neither. */
type Spoken = 'http' | 'tls' | 'other'

const UNKNOWN: Destination = { kind: 'unknown' }

export function undeclaredText(what: string): string {
  return `${what} is not declared, and the pod may only call what is (REGISTRY_ONLY): add a ServiceEntry`
}

/** What destinations are looked up in. */
interface DestinationHost {
  readonly snapshot: Snapshot
  readonly targets: Pick<Targets, 'policiesOf'>
  /** What pods may call that say nothing of it themselves. */
  readonly registryOnly: boolean
}

export class OutboundDestination {
  /** The pod itself; a pod that goes while its process still runs is held to what was known of it last. */
  client: Workload | undefined
  readonly #host: DestinationHost
  readonly #pod: Pod
  readonly #original: SocketName
  #destination: Destination = UNKNOWN
  #version = -1
  /** Of the pod that the connection was made to: whoever has its address later is another. */
  #pinnedTo: string | undefined

  constructor(host: DestinationHost, pod: Pod, original: SocketName) {
    this.#host = host
    this.#pod = pod
    this.#original = original
  }

  #look(): Destination | typeof GONE {
    const snapshot = this.#host.snapshot
    if (snapshot.version !== this.#version) {
      this.#version = snapshot.version
      this.#destination = snapshot.destination(this.#original.address, this.#original.port)
      this.client = snapshot.workload(this.#pod.workload) ?? this.client
      if (this.#destination.kind === 'workload') this.#pinnedTo ??= this.#destination.workload.uid
    }
    const found = this.#destination
    return this.#pinnedTo === undefined || (found.kind === 'workload' && found.workload.uid === this.#pinnedTo)
      ? found
      : GONE
  }

  /** As `#look`; of what the mesh does not know by its address, the `name` that is asked for decides. */
  meant(speaks: Spoken, name: string): Destination | typeof GONE | Outside {
    const destination = this.#look()
    const { client } = this
    if (destination.kind === 'service') {
      const namespaces = destination.service.external?.namespaces
      if (namespaces === undefined || namespaces.includes(client?.namespace ?? '')) return destination
    } else if (destination.kind !== 'unknown') return destination
    return this.#outside(speaks, name)
  }

  #outside(speaks: Spoken, name: string): Destination | Outside {
    const { client } = this
    const { snapshot } = this.#host
    const registryOnly = this.#registryOnly()
    if (!registryOnly && !declaresHosts(snapshot)) return UNKNOWN
    const { address, port } = this.#original
    const request = { namespace: client?.namespace, registryOnly, speaks, name, address, port }
    const found = decideEgress(snapshot, request)
    switch (found.kind) {
      case 'declared':
        return { kind: 'service', service: found.service, port: found.port }
      case 'as-addressed':
        return UNKNOWN
      default:
        return found
    }
  }

  #registryOnly(): boolean {
    const { outbound } = this.client ?? {}
    return outbound === undefined ? this.#host.registryOnly : outbound === 'REGISTRY_ONLY'
  }

  /** What was declared when it began may not be any more. */
  undeclaredNow(speaks: Spoken, name: string): Verdict | undefined {
    const destination = this.meant(speaks, name)
    return destination.kind === 'undeclared' ? { kind: 'deny', reason: undeclaredText(destination.what) } : undefined
  }

  declared(): 'http' | 'opaque' | 'tls' | 'detect' {
    const destination = this.#look()
    if (destination.kind !== 'service') return 'detect'
    const { service, port } = destination
    if (port.protocol === 'http' || port.protocol === 'http2' || port.protocol === 'grpc') return 'http'
    if (port.protocol === 'tls') return 'tls'
    const routes = this.streamRoutes(destination)
    if (port.protocol === 'tcp') {
      return (routes?.byName.length ?? 0) > 0 || this.#policiesAskSni(service, port.port) ? 'tls' : 'opaque'
    }
    // A TCPRoute makes opaque what no HTTPRoute is there for.
    if (routes?.others === undefined || hasHttpRoutes(this.#host.snapshot, destination, this.client)) return 'detect'
    return routes.byName.length > 0 ? 'tls' : 'opaque'
  }

  asksSni(): boolean {
    const destination = this.#look()
    if (destination.kind === 'unknown') return this.#registryOnly() || declaresHosts(this.#host.snapshot)
    return destination.kind === 'service' && (this.streamRoutes(destination)?.byName.length ?? 0) > 0
  }

  streamRoutes({ service, port }: Extract<Destination, { kind: 'service' }>): StreamRoutes | undefined {
    return streamRoutesOf(this.#host.snapshot, { client: this.client, service, port })
  }

  /** Of a pod of this node that the port may lead to. */
  #policiesAskSni(service: MeshService, port: number): boolean {
    const { snapshot, targets } = this.#host
    return (service.endpoints[port] ?? []).some(({ workload }) => {
      const pod = workload === undefined ? undefined : snapshot.workload(workload)
      return pod?.optedIn === true && targets.policiesOf(pod).needsSni
    })
  }
}
