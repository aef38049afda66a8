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
    for (const object of objects) {
      if (object.kind !== 'GRPCRoute') continue
      for (const ref of isInvalid(object) ? object.parentRefs : object.spec.parentRefs) {
        if (!isCoreGroup(ref.group) || ref.kind !== 'Service') continue
        const key = keyOf(object.metadata.namespace, ref)
        const known = this.#bindings.get(key)
        const binding = { route: object.metadata.name, ref }
        if (known === undefined) this.#bindings.set(key, [binding])
        else known.push(binding)
      }
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

function keyOf(routeNamespace: string, ref: ParentRefSpec): string {
  return `${routeNamespace} ${ref.namespace ?? routeNamespace}/${ref.name}`
}

function binds(ref: ParentRefSpec, port: { readonly port: number; readonly name: string }): boolean {
  return (
    (ref.port === undefined || ref.port === port.port) &&
    (ref.sectionName === undefined || ref.sectionName === port.name)
  )
}
