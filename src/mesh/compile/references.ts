/**
 * Names and selectors that lead nowhere: each object is valid by itself, and yet does nothing, or refuses, because of
 * what another one is not. A warning where nothing is refused, an error where requests are.
 */
import {
  type BackendRefSpec,
  type EndpointSliceObject,
  type GrpcRouteObject,
  type HttpRouteObject,
  isCoreGroup,
  isInvalid,
  type KubernetesObject,
  type PodObject,
  type Problem,
  type ServiceObject,
  type TargetSpec,
  type TcpRouteObject,
  type TlsRouteObject,
  type TrafficPolicyObject,
  targetRefsOf,
  type ValidObject,
} from '#resources'
import { checkAnnotations } from './annotations.ts'
import { ROOT_NAMESPACE_DEFAULT } from './compile-world.ts'
import { mirrorRefs } from './mirror-refs.ts'
import { PodSelection } from './pod-selection.ts'
import { isFinished } from './pods.ts'
import { ProblemLog } from './problem-log.ts'
import { GrpcBindings } from './route-conflicts.ts'
import { groupSlices, protocolOf, serviceName, targetPortOf } from './services.ts'

/** What objects are looked up in. */
export interface ReferenceIndexes {
  readonly services: ReadonlyMap<string, ServiceObject>
  readonly pods: PodSelection
  /** By `namespace/name` of the Service. */
  readonly slices: ReadonlyMap<string, readonly EndpointSliceObject[]>
  readonly grpc: GrpcBindings
}

interface Known extends ReferenceIndexes {
  readonly problems: ProblemLog
}

/** `node` is the agent's own. What compileWorld tells is not told again. */
export function checkReferences(objects: readonly KubernetesObject[], node: string): readonly Problem[] {
  const valid = objects.filter((object): object is ValidObject => !isInvalid(object))
  const pods = valid.filter((object) => object.kind === 'Pod')
  const services = valid.filter((object) => object.kind === 'Service')
  const indexes: ReferenceIndexes = {
    services: new Map(services.map((service) => [serviceName(service), service])),
    pods: new PodSelection(pods),
    slices: groupSlices(valid.filter((object) => object.kind === 'EndpointSlice')),
    grpc: new GrpcBindings(objects),
  }
  const nodes = new Set(pods.flatMap(({ spec }) => spec.nodeName ?? []))
  return [...checkNode(nodes, node), ...valid.flatMap((object) => checkObject(object, indexes))]
}

/** What is wrong with what it refers to. */
export function checkObject(object: ValidObject, indexes: ReferenceIndexes): readonly Problem[] {
  const known: Known = { ...indexes, problems: new ProblemLog() }
  switch (object.kind) {
    case 'Pod':
    case 'Namespace':
      checkAnnotations(object, known.problems)
      break
    case 'Service':
      if (!known.slices.has(serviceName(object))) checkSelector(object, known)
      break
    case 'HTTPRoute':
    case 'GRPCRoute':
    case 'TLSRoute':
    case 'TCPRoute':
      checkRoute(object, known)
      break
    case 'AuthorizationPolicy':
    case 'PeerAuthentication':
    case 'RequestAuthentication':
      checkTarget(object, object.spec, known)
      break
    case 'TrafficPolicy':
      checkTarget(object, object.spec, known)
      checkSpoken(object, known)
      checkVersioned(object, known)
      break
    default:
      break
  }
  return known.problems.list()
}

/** Pods there are, and none of them is of this node: the name may be wrong. */
export function checkNode(
  nodes: { readonly size: number; has(name: string): boolean; keys(): Iterable<string> },
  node: string,
): readonly Problem[] {
  if (nodes.size === 0 || nodes.has(node)) return []
  const named = [...nodes.keys()].sort()
  const some = named.length > MAX_NODES_NAMED ? `${named.slice(0, MAX_NODES_NAMED).join(', ')}, …` : named.join(', ')
  const message = `no Pod has spec.nodeName ${node}; the manifests name ${some}: is --node right?`
  return [{ severity: 'warning', object: `--node ${node}`, message }]
}

const MAX_NODES_NAMED = 5

export type RouteObject = HttpRouteObject | GrpcRouteObject | TlsRouteObject | TcpRouteObject

function checkRoute(route: RouteObject, known: Known): void {
  for (const [index, parent] of route.spec.parentRefs.entries()) {
    if (!isCoreGroup(parent.group) || parent.kind !== 'Service') continue
    const name = `${parent.namespace ?? route.metadata.namespace}/${parent.name}`
    const service = known.services.get(name)
    const field = `spec.parentRefs[${index}]`
    if (service === undefined) {
      known.problems.warn(route, field, `Service ${name} does not exist: the route does nothing there; is it misspelt?`)
      continue
    }
    const { port, sectionName } = parent
    const ports = tcpPorts(service)
    if (port !== undefined && !ports.some((one) => one.port === port)) {
      const message = `Service ${name} has no port ${port}, it has ${listPorts(service)}: the route does nothing there`
      known.problems.warn(route, `${field}.port`, message)
    }
    if (sectionName !== undefined && !ports.some((one) => one.name === sectionName)) {
      const message = `Service ${name} has no port named ${sectionName}, it has ${listPorts(service)}: the route does nothing there`
      known.problems.warn(route, `${field}.sectionName`, message)
    }
    const conflict = route.kind === 'HTTPRoute' ? known.grpc.conflictOf(route, parent, service) : undefined
    if (conflict !== undefined) {
      const message = `GRPCRoute ${conflict.route} binds port ${conflict.ports.join(', ')} of Service ${name}, too, and only routes of one kind can: this one does nothing there; give them ports of their own`
      known.problems.warn(route, field, message)
    }
  }
  if (!route.spec.parentRefs.some(({ group, kind }) => isCoreGroup(group) && kind === 'Service')) return
  if (route.kind === 'HTTPRoute') checkAnswers(route, known)
  for (const [at, rule] of route.spec.rules.entries()) {
    for (const [field, ref] of mirrorRefs(rule, `spec.rules[${at}]`)) {
      const wrong = backendFault(route, ref, known)
      if (wrong !== undefined) known.problems.add(route, field, `${wrong}; nothing is mirrored there`)
    }
    for (const [index, ref] of rule.backendRefs.entries()) {
      if (!('sessionPersistence' in rule) || !hasClientAffinity(route, ref, known.services)) continue
      const message = `Service ${ref.name} has sessionAffinity ClientIP, which does not go with sessionPersistence: remove one; its share of requests gets 500`
      known.problems.add(route, `spec.rules[${at}].backendRefs[${index}]`, message)
    }
    const total = rule.backendRefs.reduce((sum, { weight }) => sum + weight, 0)
    if (total === 0 && rule.backendRefs.length > 0) {
      const fate = isStream(route) ? 'connections of this rule are reset' : 'requests of this rule get 500'
      const message = `all weights are 0: the ${fate}; give one backend a weight, or leave the weights out`
      known.problems.warn(route, `spec.rules[${at}].backendRefs`, message)
    }
    for (const [index, ref] of rule.backendRefs.entries()) {
      const field = `spec.rules[${at}].backendRefs[${index}]`
      const wrong = backendFault(route, ref, known)
      if (wrong === undefined) continue
      const { weight } = ref
      const what = isStream(route) ? 'connection' : 'request'
      if (weight === 0) known.problems.warn(route, field, `${wrong}; its weight is 0, so that no ${what} gets there`)
      else {
        const share =
          weight === total ? `the ${what}s of this rule` : `its share of ${what}s (${percent(weight, total)})`
        const verb = weight === total ? ['get', 'are'] : ['gets', 'is']
        const fate = isStream(route) ? `${verb[1]} reset` : `${verb[0]} 500`
        known.problems.add(route, field, `${wrong}; ${share} ${fate}: correct the reference, or add what it names`)
      }
    }
  }
}

/** A rule that neither forwards nor redirects has no answer but 500. */
function checkAnswers(route: HttpRouteObject, known: Known): void {
  for (const [at, { backendRefs, filters }] of route.spec.rules.entries()) {
    if (backendRefs.length > 0 || filters.some(({ type }) => type === 'RequestRedirect')) continue
    const message = 'has neither backendRefs nor a RequestRedirect: its requests get 500; add one of them'
    known.problems.warn(route, `spec.rules[${at}]`, message)
  }
}

function isStream({ kind }: RouteObject): boolean {
  return kind === 'TLSRoute' || kind === 'TCPRoute'
}

/** The Service balances by itself, by the client's address. */
export function hasClientAffinity(
  route: Pick<RouteObject, 'metadata'>,
  { group, kind, namespace, name }: Reference,
  services: ReadonlyMap<string, ServiceObject>,
): boolean {
  if (!isCoreGroup(group) || kind !== 'Service') return false
  return services.get(`${namespace ?? route.metadata.namespace}/${name}`)?.spec.sessionAffinity === 'ClientIP'
}

type Reference = Pick<BackendRefSpec, 'group' | 'kind' | 'name' | 'namespace' | 'port'>

function backendFault(route: RouteObject, ref: Reference, known: Known): string | undefined {
  if (!isCoreGroup(ref.group) || ref.kind !== 'Service' || ref.port === undefined) return undefined
  const name = `${ref.namespace ?? route.metadata.namespace}/${ref.name}`
  const service = known.services.get(name)
  if (service === undefined) return `Service ${name} does not exist`
  if (tcpPorts(service).some(({ port }) => port === ref.port)) return undefined
  return `Service ${name} has no port ${ref.port}, it has ${listPorts(service)}`
}

function percent(weight: number, total: number): string {
  return `${Math.round((weight * 1000) / total) / 10} %`
}

function tcpPorts(service: ServiceObject): ServiceObject['spec']['ports'] {
  return service.spec.ports.filter(({ protocol }) => protocol === 'TCP')
}

function listPorts(service: ServiceObject): string {
  const texts = tcpPorts(service).map(({ name, port }) => (name === '' ? String(port) : `${port} (${name})`))
  return texts.length === 0 ? 'none' : texts.join(', ')
}

/** Without EndpointSlices: its endpoints are what the selector finds. */
function checkSelector(service: ServiceObject, { pods, problems }: Known): void {
  const { selector, type, ports } = service.spec
  const { namespace } = service.metadata
  if (Object.keys(selector).length === 0 || type === 'ExternalName') return
  const chosen = pods.select(namespace, selector).filter(isLiving)
  if (chosen.length === 0) {
    const message = `${labelText(selector)} matches no Pod of namespace ${namespace}: it has no endpoints, requests to it get 503`
    problems.warn(service, 'spec.selector', message)
    return
  }
  for (const [index, port] of ports.entries()) {
    if (port.protocol !== 'TCP' || chosen.some((pod) => targetPortOf(port, pod) !== undefined)) continue
    const message = `no container of the Pods that it selects has a TCP port named ${String(port.targetPort)}: requests to port ${port.port} get 503`
    problems.warn(service, `spec.ports[${index}].targetPort`, message)
  }
}

function checkTarget(policy: ValidObject, spec: TargetSpec, { pods, services, problems }: Known): void {
  const { namespace } = policy.metadata
  const labels = spec.selector?.matchLabels ?? {}
  if (Object.keys(labels).length > 0) {
    const wide = isMeshWide(policy)
    const found = wide ? pods.selectAnywhere(labels, isLiving) : pods.select(namespace, labels).some(isLiving)
    if (!found) {
      const where = wide ? 'of the mesh' : `of namespace ${namespace}`
      problems.warn(policy, 'spec.selector', `${labelText(labels)} matches no Pod ${where}: it applies to nothing`)
    }
  }
  for (const [index, { group, kind, name }] of targetRefsOf(spec).entries()) {
    if (!isCoreGroup(group) || kind !== 'Service' || services.has(`${namespace}/${name}`)) continue
    const field = spec.targetRef === undefined ? `spec.targetRefs[${index}]` : 'spec.targetRef'
    problems.warn(policy, field, `Service ${namespace}/${name} does not exist: it applies to nothing there`)
  }
}

/** Its selector is looked for in all namespaces. */
export function isMeshWide({ metadata: { namespace } }: KubernetesObject): boolean {
  return namespace === ROOT_NAMESPACE_DEFAULT
}

function isLiving(pod: PodObject): boolean {
  return !isFinished(pod)
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',')
}

/** A TrafficPolicy is about requests. */
function checkSpoken(policy: TrafficPolicyObject, { services, problems }: Known): void {
  for (const [index, { name }] of policy.spec.targetRefs.entries()) {
    const service = services.get(`${policy.metadata.namespace}/${name}`)
    const ports = service === undefined ? [] : tcpPorts(service)
    if (ports.length === 0 || ports.some((port) => !OPAQUE.has(protocolOf(port)))) continue
    const message = `all ports of Service ${name} are declared tcp or tls: nothing of it applies to their connections`
    problems.warn(policy, `spec.targetRefs[${index}]`, message)
  }
}

/** Messages of gRPC are not translated, and there is no JSON in them that could tell of a version. */
function checkVersioned(policy: TrafficPolicyObject, { services, problems }: Known): void {
  if (policy.spec.versioning === undefined) return
  for (const { name } of policy.spec.targetRefs) {
    const service = services.get(`${policy.metadata.namespace}/${name}`)
    const ports = service === undefined ? [] : tcpPorts(service).filter((port) => protocolOf(port) === 'grpc')
    for (const { port } of ports) {
      const message = `port ${port} of Service ${name} is declared grpc, whose messages have no versions that could be translated: it does not apply there; version the proto packages, and route them by a GRPCRoute`
      problems.add(policy, 'spec.versioning', message)
    }
  }
}

const OPAQUE: ReadonlySet<string> = new Set(['tcp', 'tls'])
