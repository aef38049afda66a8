/** One change of objects, carried through what a world is followed by. Each function is false when the change is out of the ordinary. */
import { ANNOTATION, meshKey } from '#contract'
import {
  describeObject,
  type EndpointSliceObject,
  isInvalid,
  type KubernetesObject,
  type PodObject,
  type ServiceEntryObject,
  type ServiceObject,
  type ValidObject,
} from '#resources'
import type { Followed } from './followed.ts'
import { claimAlone, podName, release } from './pods.ts'
import { ProblemLog } from './problem-log.ts'
import { readQuarantine } from './quarantine.ts'
import { entryAddresses, entryNames } from './service-entries.ts'
import { bySliceName, serviceAddresses, serviceName, serviceOfSlice } from './services.ts'

export interface Parted {
  readonly pods: readonly PodObject[]
  readonly slices: readonly EndpointSliceObject[]
  readonly services: readonly ServiceObject[]
  readonly entries: readonly ServiceEntryObject[]
  /** Routes, policies and grants: compiled by themselves. */
  readonly singles: readonly ValidObject[]
}

/** What the world has of such objects; a kind without an entry is one whose change concerns others. */
const SINGLE: Readonly<Record<string, string>> = {
  HTTPRoute: 'http-route',
  GRPCRoute: 'grpc-route',
  TLSRoute: 'tls-route',
  TCPRoute: 'tcp-route',
  ReferenceGrant: 'reference-grant',
  AuthorizationPolicy: 'authorization-policy',
  TrafficPolicy: 'traffic-policy',
  BackendTLSPolicy: 'backend-tls',
}

/** Undefined when one is not valid, or of a kind that concerns more than itself and the Services near it. */
export function partObjects(objects: readonly KubernetesObject[]): Parted | undefined {
  const pods: PodObject[] = []
  const slices: EndpointSliceObject[] = []
  const services: ServiceObject[] = []
  const entries: ServiceEntryObject[] = []
  const singles: ValidObject[] = []
  for (const object of objects) {
    if (isInvalid(object)) return undefined
    if (object.kind === 'Pod') pods.push(object)
    else if (object.kind === 'EndpointSlice') slices.push(object)
    else if (object.kind === 'Service') services.push(object)
    else if (object.kind === 'ServiceEntry') entries.push(object)
    else if (Object.hasOwn(SINGLE, object.kind)) singles.push(object)
    // The world has nothing of it.
    else if (object.kind !== 'ServiceAccount') return undefined
  }
  return { pods, slices, services, entries, singles }
}

export function singleKey({ kind, metadata: { namespace, name } }: KubernetesObject): string {
  return meshKey({ kind: SINGLE[kind] ?? '', namespace, name })
}

export function workloadKey({ metadata: { namespace, name } }: PodObject): string {
  return meshKey({ kind: 'workload', namespace, name })
}

export function serviceKey({ metadata: { namespace, name } }: ServiceObject): string {
  return meshKey({ kind: 'service', namespace, name })
}

/** False when a Service now has slices and had none, or the other way round: not more than that. */
export function changeSlices(
  { slices, uses }: Followed,
  removed: readonly EndpointSliceObject[],
  added: readonly EndpointSliceObject[],
  touched: Set<string>,
): boolean {
  const groups = new Set<string>()
  const was = new Set<string>()
  const into = (slice: EndpointSliceObject, change: (group: EndpointSliceObject[]) => EndpointSliceObject[]): void => {
    const key = serviceOfSlice(slice)
    if (key === undefined) return
    const group = slices.get(key)
    if (!groups.has(key) && group !== undefined) was.add(key)
    groups.add(key)
    touched.add(key)
    const changed = change([...(group ?? [])])
    if (changed.length === 0) slices.delete(key)
    else slices.set(key, changed)
  }
  for (const slice of removed) {
    uses.removeSlice(slice)
    into(slice, (group) => group.filter((one) => one !== slice))
  }
  for (const slice of added) {
    uses.addSlice(slice)
    into(slice, (group) => [...group, slice].sort(bySliceName))
  }
  return [...groups].every((key) => was.has(key) === slices.has(key))
}

/** False when one of them is told of as a problem, is in quarantine, or claims what another one has. */
export function changePods(
  { pods, claims, uses, local, troubled }: Followed,
  removed: readonly PodObject[],
  added: readonly PodObject[],
  touched: Set<string>,
): boolean {
  if (removed.some((pod) => troubled.has(describeObject(pod)))) return false
  // Quarantine concerns Services beyond those that select the pod; words on what it may call may be problems.
  const silent = new ProblemLog()
  const isSpecial = (pod: PodObject): boolean =>
    readQuarantine(pod, silent) !== undefined ||
    pod.metadata.annotations[ANNOTATION.outboundTrafficPolicy] !== undefined
  if (removed.some(isSpecial) || added.some(isSpecial)) return false
  for (const pod of removed) {
    uses.ofPod(pod, claims.addresses.get(pod) ?? [], touched)
    pods.remove(pod)
    release(pod, claims)
    local.delete(podName(pod))
  }
  for (const pod of added) {
    if (!claimAlone(pod, claims)) return false
    pods.add(pod)
    uses.ofPod(pod, claims.addresses.get(pod) ?? [], touched)
  }
  return true
}

/** False when one of them is told of as a problem, or another Service or a ServiceEntry has to do with its addresses. */
export function changeServices(
  { services, uses, holders, troubled, contested, outside, world }: Followed,
  removed: readonly ServiceObject[],
  added: readonly ServiceObject[],
  touched: Set<string>,
): boolean {
  for (const service of removed) {
    const name = serviceName(service)
    if (troubled.has(describeObject(service)) || services.get(name) !== service) return false
    for (const address of serviceAddresses(service)) {
      if (contested.has(address) || outside.has(address)) return false
      if (holders.get(address) === name) holders.delete(address)
    }
    services.delete(name)
    uses.removeService(service)
  }
  for (const service of added) {
    const name = serviceName(service)
    const before = world.get(serviceKey(service))
    if (services.has(name) || (before?.kind === 'service' && before.external !== undefined)) return false
    if (serviceAddresses(service).some((address) => holders.has(address) || outside.has(address))) return false
    services.set(name, service)
    uses.addService(service)
    touched.add(name)
  }
  return true
}

/** False when one of them is told of as a problem, or another one or a Service has to do with its hosts. */
export function changeEntries(
  { services, troubled, sole, world, automatic, outside }: Followed,
  removed: readonly ServiceEntryObject[],
  added: readonly ServiceEntryObject[],
): boolean {
  for (const entry of removed) {
    if (troubled.has(describeObject(entry)) || !sole.remove(entry)) return false
    for (const name of entryNames(entry)) {
      const made = world.get(entryKey(entry, name))
      if (made?.kind === 'service' && !automatic.giveBack(made.addresses, name)) return false
    }
  }
  for (const entry of added) {
    if (!sole.add(entry) || entryNames(entry).some((name) => services.has(name))) return false
    for (const address of entryAddresses(entry)) outside.add(address)
  }
  return true
}

/** @param name as of `entryNames` */
function entryKey({ metadata: { namespace } }: ServiceEntryObject, name: string): string {
  return meshKey({ kind: 'service', namespace, name: name.slice(namespace.length + 1) })
}

export function entryKeys(entry: ServiceEntryObject): readonly string[] {
  return entryNames(entry).map((name) => entryKey(entry, name))
}

/** False when one of them is told of as a problem, or another one has its name or a target of it. */
export function changeSingles(
  { troubled, sole }: Followed,
  removed: readonly KubernetesObject[],
  added: readonly KubernetesObject[],
): boolean {
  for (const object of removed) if (troubled.has(describeObject(object)) || !sole.remove(object)) return false
  for (const object of added) if (!sole.add(object)) return false
  return true
}
