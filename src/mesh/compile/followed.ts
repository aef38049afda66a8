/** What a world is followed by, from one change to the next: made once by looking at all objects, and changed with single ones. */
import {
  isInvalid,
  type KubernetesObject,
  type NamespaceObject,
  objectKey,
  type PodObject,
  type ServiceEntryObject,
  type ServiceObject,
} from '#resources'
import type { CompileContext } from './compile-world.ts'
import { isFinished, podName, statusAddresses } from './pods.ts'
import { entryAddresses, entryNames } from './service-entries.ts'
import { ServiceUses } from './service-uses.ts'
import { serviceAddresses, serviceName } from './services.ts'
import { SoleClaims } from './sole-claims.ts'

/**
 * Kinds whose values depend on no pod and no slice. In a world with any other, everything is compiled each time: who adds
 * one that depends on pods need not know of this file to be right.
 */
const INDEPENDENT: ReadonlySet<string> = new Set([
  'Node',
  'ServiceAccount',
  'HTTPRoute',
  'GRPCRoute',
  'ReferenceGrant',
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'TrafficPolicy',
  'TLSRoute',
  'TCPRoute',
  'BackendTLSPolicy',
  'ConfigMap',
])

export interface Followed extends CompileContext {
  readonly uses: ServiceUses
  readonly services: Map<string, ServiceObject>
  readonly namespaces: readonly NamespaceObject[]
  /** Pods of the node. */
  readonly local: Map<string, PodObject>
  /** As problems name them. */
  readonly troubled: ReadonlySet<string>
  /** Addresses that a Service claims and another one has. */
  readonly contested: ReadonlySet<string>
  /** Addresses that ServiceEntries name, or have named. */
  readonly outside: Set<string>
  readonly sole: SoleClaims
}

/** Undefined when anything is in the set that single changes cannot be told of. */
export function follow(
  objects: readonly KubernetesObject[],
  context: CompileContext,
  node: string,
): Followed | undefined {
  const keys = new Set<string>()
  const services = new Map<string, ServiceObject>()
  const namespaces: NamespaceObject[] = []
  const local = new Map<string, PodObject>()
  const uses = new ServiceUses()
  const contested = new Set<string>()
  const outside = new Set<string>()
  const sole = new SoleClaims()
  const entries: ServiceEntryObject[] = []
  for (const object of objects) {
    const key = objectKey(object)
    if (keys.has(key)) return undefined
    keys.add(key)
    sole.add(object)
    if (isInvalid(object)) continue
    if (object.kind === 'Pod') {
      if (!hasItsOwn(object, context)) return undefined
      if (object.spec.nodeName === node) local.set(podName(object), object)
    } else if (object.kind === 'Service') {
      const name = serviceName(object)
      services.set(name, object)
      uses.addService(object)
      for (const address of serviceAddresses(object)) {
        if (context.holders.get(address) !== name) contested.add(address)
      }
    } else if (object.kind === 'EndpointSlice') uses.addSlice(object)
    else if (object.kind === 'Namespace') namespaces.push(object)
    else if (object.kind === 'ServiceEntry') entries.push(object)
    else if (!INDEPENDENT.has(object.kind)) return undefined
  }
  for (const entry of entries) {
    if (entryNames(entry).some((name) => services.has(name))) return undefined
    for (const address of entryAddresses(entry)) outside.add(address)
  }
  const troubled = new Set(context.problems.map((problem) => problem.object ?? ''))
  return { ...context, uses, services, namespaces, local, troubled, contested, outside, sole }
}

/** False when another pod has an address or the uid that this one claims, and it might fall to this one. */
function hasItsOwn(pod: PodObject, { claims }: CompileContext): boolean {
  const { uid } = pod.metadata
  if (uid !== undefined && uid !== '' && claims.uids.get(pod) !== uid) return false
  return isFinished(pod) || claims.addresses.get(pod)?.length === statusAddresses(pod).length
}
