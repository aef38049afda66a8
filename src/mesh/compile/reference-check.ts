/**
 * What `checkReferences` tells, followed from change to change: only those objects are looked at again that refer to what
 * changed, so that it costs the same in a large cluster.
 */
import {
  isCoreGroup,
  isInvalid,
  type KubernetesObject,
  type PodObject,
  type Problem,
  targetRefsOf,
  type ValidObject,
} from '#resources'
import type { Parted } from './follow-change.ts'
import { mirrorRefs } from './mirror-refs.ts'
import { labelKey } from './pod-selection.ts'
import { checkNode, checkObject, isMeshWide, type ReferenceIndexes, type RouteObject } from './references.ts'
import { GrpcBindings, grpcKeysOf } from './route-conflicts.ts'
import { serviceName } from './services.ts'

export class ReferenceCheck {
  readonly #indexes: ReferenceIndexes
  readonly #node: string
  /** Only of objects that have any. */
  readonly #problems = new Map<KubernetesObject, readonly Problem[]>()
  /** Who refers to what: see `usesOf`. */
  readonly #users = new Map<string, Set<ValidObject>>()
  /** How many pods name each node. */
  readonly #nodes = new Map<string, number>()

  /** @param indexes of these objects; they are to change with them, before `follow` is called */
  constructor(objects: readonly KubernetesObject[], indexes: Omit<ReferenceIndexes, 'grpc'>, node: string) {
    this.#indexes = { ...indexes, grpc: new GrpcBindings(objects) }
    this.#node = node
    for (const object of objects) if (!isInvalid(object)) this.#add(object)
  }

  problems(): readonly Problem[] {
    return [...checkNode(this.#nodes, this.#node), ...[...this.#problems.values()].flat()]
  }

  /** @param touched names of Services whose slices or pods changed; undefined when nothing of that is looked at here */
  follow(old: Parted, now: Parted, touched: ReadonlySet<string> | undefined): void {
    const { services, grpc } = this.#indexes
    const again = new Set<ValidObject>()
    const changed = (key: string): void => {
      for (const user of this.#users.get(key) ?? []) again.add(user)
    }
    const removed = [...old.pods, ...old.services, ...old.singles]
    const added = [...now.pods, ...now.services, ...now.singles]
    for (const object of removed) {
      this.#remove(object)
      grpc.remove(object)
    }
    for (const object of added) grpc.add(object)
    for (const object of [...removed, ...added]) {
      if (object.kind === 'Service') changed(serviceUse(serviceName(object)))
      else if (object.kind === 'GRPCRoute') for (const key of grpcKeysOf(object)) changed(key)
      else if (object.kind === 'Pod' && touched !== undefined) for (const key of labelUses(object)) changed(key)
    }
    for (const name of touched ?? []) {
      const service = services.get(name)
      if (service !== undefined) again.add(service)
    }
    for (const object of added) {
      again.delete(object)
      this.#add(object)
    }
    for (const object of again) this.#check(object)
  }

  #add(object: ValidObject): void {
    if (object.kind === 'Pod') this.#countNode(object, 1)
    for (const use of usesOf(object)) {
      const users = this.#users.get(use)
      if (users === undefined) this.#users.set(use, new Set([object]))
      else users.add(object)
    }
    this.#check(object)
  }

  #remove(object: ValidObject): void {
    if (object.kind === 'Pod') this.#countNode(object, -1)
    this.#problems.delete(object)
    for (const use of usesOf(object)) {
      const users = this.#users.get(use)
      if (users?.delete(object) === true && users.size === 0) this.#users.delete(use)
    }
  }

  #check(object: ValidObject): void {
    const problems = checkObject(object, this.#indexes)
    if (problems.length > 0) this.#problems.set(object, problems)
    else this.#problems.delete(object)
  }

  #countNode({ spec: { nodeName } }: PodObject, change: number): void {
    if (nodeName === undefined) return
    const count = (this.#nodes.get(nodeName) ?? 0) + change
    if (count > 0) this.#nodes.set(nodeName, count)
    else this.#nodes.delete(nodeName)
  }
}

/** Services by name, bindings of GRPCRoutes, and one label of the pods that a policy selects. */
function usesOf(object: ValidObject): readonly string[] {
  switch (object.kind) {
    case 'HTTPRoute':
    case 'GRPCRoute':
    case 'TLSRoute':
    case 'TCPRoute':
      return [...routeServices(object).map(serviceUse), ...(object.kind === 'HTTPRoute' ? grpcKeysOf(object) : [])]
    case 'AuthorizationPolicy':
    case 'PeerAuthentication':
    case 'RequestAuthentication':
    case 'TrafficPolicy': {
      const { namespace } = object.metadata
      const targets = targetRefsOf(object.spec).map(({ name }) => serviceUse(`${namespace}/${name}`))
      const selector = 'selector' in object.spec ? object.spec.selector : undefined
      const [label] = Object.entries(selector?.matchLabels ?? {})
      return label === undefined ? targets : [...targets, labelKey(isMeshWide(object) ? ANYWHERE : namespace, ...label)]
    }
    default:
      return []
  }
}

function routeServices(route: RouteObject): readonly string[] {
  const { namespace: own } = route.metadata
  const refs = route.spec.rules.flatMap((rule) => [...rule.backendRefs, ...mirrorRefs(rule, '').map(([, ref]) => ref)])
  return [...route.spec.parentRefs, ...refs]
    .filter(({ group, kind }) => isCoreGroup(group) && kind === 'Service')
    .map(({ namespace, name }) => `${namespace ?? own}/${name}`)
}

/** No namespace has such a name. */
const ANYWHERE = '*'

function labelUses({ metadata: { namespace, labels } }: PodObject): readonly string[] {
  return Object.entries(labels).flatMap((label) => [labelKey(namespace, ...label), labelKey(ANYWHERE, ...label)])
}

function serviceUse(name: string): string {
  return `Service ${name}`
}
