/**
 * Routes of different kinds for one Service port: only those of one kind apply, GRPCRoutes before HTTPRoutes (GEP-1294,
 * "Route types"). As routes of different namespaces never meet at one caller, it is judged for each namespace.
 */
import {
  type HttpRouteObject,
  isCoreGroup,
  isInvalid,
  type KubernetesObject,
  type ParentRefSpec,
  type ServiceObject,
} from '#resources'
import { compareText } from './pods.ts'

interface Binding {
  /** Name of the GRPCRoute. */
  readonly route: string
  readonly ref: ParentRefSpec
}

export interface RouteConflict {
  /** The GRPCRoute that applies instead. */
  readonly route: string
  /** Those ports of the Service that it takes. */
  readonly ports: readonly number[]
  /** Nothing is left to the HTTPRoute. */
  readonly whole: boolean
}

export class GrpcBindings {
  /** By the route's namespace and the Service's `namespace/name`. */
  readonly #bindings = new Map<string, Binding[]>()

  constructor(objects: readonly KubernetesObject[]) {
    for (const object of objects) this.add(object)
  }

  add(object: KubernetesObject): void {
    if (object.kind !== 'GRPCRoute') return
    for (const { key, ref } of bindingsOf(object)) {
      const known = this.#bindings.get(key) ?? []
      known.push({ route: object.metadata.name, ref })
      // The first one is named, in whatever order they come.
      known.sort((a, b) => compareText(a.route, b.route))
      this.#bindings.set(key, known)
    }
  }

  remove(object: KubernetesObject): void {
    // An HTTPRoute may have the same name.
    if (object.kind !== 'GRPCRoute') return
    for (const key of grpcKeysOf(object)) {
      const rest = this.#bindings.get(key)?.filter(({ route }) => route !== object.metadata.name) ?? []
      if (rest.length > 0) this.#bindings.set(key, rest)
      else this.#bindings.delete(key)
    }
  }

  /** What of the Service a GRPCRoute takes from this parent of an HTTPRoute; undefined when nothing. */
  conflictOf(route: HttpRouteObject, ref: ParentRefSpec, service: ServiceObject): RouteConflict | undefined {
    const others = this.#bindings.get(keyOf(route.metadata.namespace, ref))
    if (others === undefined) return undefined
    const own = service.spec.ports.filter((port) => port.protocol === 'TCP' && binds(ref, port))
    const taken = own.filter((port) => others.some((other) => binds(other.ref, port)))
    const [first] = taken
    if (first === undefined) return undefined
    const winner = others.find((other) => binds(other.ref, first))?.route ?? ''
    return { route: winner, ports: taken.map(({ port }) => port), whole: taken.length === own.length }
  }
}

/** What a GRPCRoute binds, or an HTTPRoute might find bound: the same text for the same Service and namespace of routes. */
export function grpcKeysOf(object: KubernetesObject): readonly string[] {
  return object.kind === 'GRPCRoute' || object.kind === 'HTTPRoute' ? bindingsOf(object).map(({ key }) => key) : []
}

function bindingsOf(object: Extract<KubernetesObject, { readonly kind: 'GRPCRoute' | 'HTTPRoute' }>) {
  const refs = isInvalid(object) ? object.parentRefs : object.spec.parentRefs
  return refs
    .filter(({ group, kind }) => isCoreGroup(group) && kind === 'Service')
    .map((ref) => ({ key: keyOf(object.metadata.namespace, ref), ref }))
}

function keyOf(routeNamespace: string, ref: ParentRefSpec): string {
  return `${routeNamespace} ${ref.namespace ?? routeNamespace}/${ref.name}`
}

function binds(ref: ParentRefSpec, port: { readonly port: number; readonly name: string }): boolean {
  return (
    (ref.port === undefined || ref.port === port.port) &&
    (ref.sectionName === undefined || ref.sectionName === port.name)
  )
}
