/** What finding faults needs of the objects: worked out when they have changed, and seldom where that takes long. */
import type { MeshService } from '#contract'
import type { Snapshot } from '#mesh'
import { type EmptyService, fairShare, namespaceIn, type PolicyChange, type WorldSample } from '#observer'

/** In a large cluster that changes all the time, one part in so many of the time is given to it. */
const SHARE = 50
/** Services without endpoints, that are told. */
const MAX_EMPTY = 500

/** A policy at one time. */
interface PolicySeen {
  /** The same value while it does not change. */
  readonly says: unknown
  readonly isMeshWide: boolean
}

export class WorldLook {
  readonly #node: string
  #snapshot: Snapshot | undefined
  #sample: WorldSample | undefined
  #policies: ReadonlyMap<string, PolicySeen> = new Map()
  #dueAtMs = 0

  constructor(node: string) {
    this.#node = node
  }

  /**
   * @param peerAuthentications `namespace/name` → what it says
   * @param nowMs monotonic
   */
  look(
    snapshot: Snapshot,
    peerAuthentications: () => ReadonlyMap<string, PolicySeen>,
    { nowMs, atMs }: { readonly nowMs: number; readonly atMs: number },
  ): { readonly world: WorldSample; readonly changes: readonly PolicyChange[] } {
    const known = this.#sample
    if (known !== undefined && (snapshot === this.#snapshot || nowMs < this.#dueAtMs)) {
      return { world: known, changes: [] }
    }
    const begun = performance.now()
    const policies = policiesOf(snapshot, peerAuthentications())
    const changes = known === undefined ? [] : policyChanges(this.#policies, policies, atMs)
    const world = sampleOf(snapshot, this.#node)
    this.#snapshot = snapshot
    this.#sample = world
    this.#policies = policies
    this.#dueAtMs = nowMs + (performance.now() - begun) * SHARE
    return { world, changes }
  }
}

function sampleOf(snapshot: Snapshot, node: string): WorldSample {
  return {
    version: snapshot.version,
    emptyServices: emptyServices(snapshot),
    podOf: (workload) => podOf(snapshot, workload, node),
    servicesOf: (route) => servicesOf(snapshot, route),
    urlOf: (service) => urlOf(snapshot, service),
  }
}

function emptyServices(snapshot: Snapshot): readonly EmptyService[] {
  const empty: EmptyService[] = []
  for (const service of snapshot.services()) {
    if (service.external !== undefined || service.externalName !== undefined || service.ports.length === 0) continue
    const endpoints = Object.values(service.endpoints).flat()
    if (endpoints.some(({ ready, terminating }) => ready && !terminating)) continue
    const unready = new Set(endpoints.map(({ address }) => address)).size
    empty.push({ service: nameOf(service), unready, routes: [] })
  }
  const told = fairShare(empty, MAX_EMPTY, ({ service }) => namespaceIn(service))
  return told.length === 0 ? told : withRoutes(told, snapshot)
}

function withRoutes(empty: readonly EmptyService[], snapshot: Snapshot): readonly EmptyService[] {
  const routes = new Map<string, Set<string>>(empty.map(({ service }) => [service, new Set()]))
  for (const route of [...snapshot.routes(), ...snapshot.streamRoutes()]) {
    for (const { backends } of route.rules) {
      for (const { service, weight } of backends) {
        if (weight > 0) routes.get(nameOf(service))?.add(`${KIND[route.kind]} ${nameOf(route)}`)
      }
    }
  }
  return empty.map((one) => ({ ...one, routes: [...(routes.get(one.service) ?? [])].sort() }))
}

const KIND = {
  'http-route': 'HTTPRoute',
  'grpc-route': 'GRPCRoute',
  'tls-route': 'TLSRoute',
  'tcp-route': 'TCPRoute',
} as const
const KIND_BY_NAME: ReadonlyMap<string, string> = new Map(Object.entries(KIND).map(([key, name]) => [name, key]))

/** Looked for when something is found: seldom. */
function podOf(snapshot: Snapshot, workload: string, node: string): string | undefined {
  let found: string | undefined
  for (const { namespace, name, owner, node: on, terminating } of snapshot.workloads()) {
    if (`${namespace}/${owner}` !== workload || terminating) continue
    if (on === node) return `${namespace}/${name}`
    found ??= `${namespace}/${name}`
  }
  return found
}

function servicesOf(snapshot: Snapshot, route: string): readonly string[] {
  const [kind = '', name = ''] = route.split(' ')
  const key = `${KIND_BY_NAME.get(kind) ?? ''}:${name}`
  const { routes, streamRoutes } = snapshot.indexes()
  const parents = (routes.get(key) ?? streamRoutes.get(key))?.parents ?? []
  return [...new Set(parents.map(({ service }) => nameOf(service)))]
}

function urlOf(snapshot: Snapshot, name: string): string | undefined {
  const [, bare = '', given] = /^(.*?)(?::(\d+))?$/.exec(name) ?? []
  const service = snapshot.service(bare)
  if (service === undefined) return undefined
  const port = service.ports.find((one) => given === undefined || one.port === Number(given))
  if (port === undefined) return undefined
  const scheme = port.protocol === 'tcp' ? 'tcp' : port.protocol === 'tls' ? 'https' : 'http'
  if (service.external === undefined) return `${scheme}://${service.name}.${service.namespace}:${port.port}`
  return service.name.startsWith('*') ? undefined : `${scheme}://${service.name}:${port.port}`
}

function nameOf({ namespace, name }: Pick<MeshService, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`
}

function policiesOf(snapshot: Snapshot, peers: ReadonlyMap<string, PolicySeen>): ReadonlyMap<string, PolicySeen> {
  const { meshPolicies, policiesByNamespace } = snapshot.indexes()
  const authorization = [...meshPolicies.values(), ...policiesByNamespace.values()]
    .flat()
    .map((policy): [string, PolicySeen] => {
      return [`AuthorizationPolicy ${nameOf(policy)}`, { says: policy, isMeshWide: policy.scope === 'mesh' }]
    })
  return new Map<string, PolicySeen>([
    ...authorization,
    ...Array.from(peers, ([name, says]) => [`PeerAuthentication ${name}`, says] as const),
  ])
}

function policyChanges(
  before: ReadonlyMap<string, PolicySeen>,
  after: ReadonlyMap<string, PolicySeen>,
  atMs: number,
): readonly PolicyChange[] {
  const changes: PolicyChange[] = []
  const add = (policy: string, change: PolicyChange['change']) => {
    const isMeshWide = [before, after].some((policies) => policies.get(policy)?.isMeshWide === true)
    changes.push({ atMs, policy, change, ...(isMeshWide ? { isMeshWide } : {}) })
  }
  for (const [policy, value] of after) {
    if (!before.has(policy)) add(policy, 'added')
    else if (before.get(policy)?.says !== value.says) add(policy, 'changed')
  }
  for (const policy of before.keys()) if (!after.has(policy)) add(policy, 'removed')
  return changes
}
