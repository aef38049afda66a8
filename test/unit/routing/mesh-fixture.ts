/** Builders of mesh objects with defaults, and the facts of a request. */
import type {
  Endpoint,
  HttpFacts,
  HttpRoute,
  MeshObject,
  MeshService,
  RouteBackend,
  RouteMatch,
  RouteRule,
  Workload,
} from '#contract'
import { type Snapshot, World } from '#mesh'

export function endpoint(address: string, more: Partial<Endpoint> = {}): Endpoint {
  return { address, port: 8080, ready: true, terminating: false, ...more }
}

export function service(nsName: string, more: Partial<MeshService> = {}): MeshService {
  const [namespace = '', name = ''] = nsName.split('/')
  return {
    kind: 'service',
    namespace,
    name,
    addresses: [],
    ports: [{ name: 'http', port: 80, protocol: 'http' }],
    endpoints: { '80': [endpoint('10.0.0.1')] },
    sliced: false,
    ...more,
  }
}

export function workload(nsName: string, more: Partial<Workload> = {}): Workload {
  const [namespace = '', name = ''] = nsName.split('/')
  return {
    kind: 'workload',
    namespace,
    name,
    uid: `uid-${nsName}`,
    serviceAccount: 'default',
    labels: {},
    addresses: [],
    node: 'node-1',
    hostNetwork: false,
    optedIn: true,
    ready: true,
    hostAddresses: [],
    probes: [],
    terminating: false,
    owner: name,
    app: name,
    version: 'unknown',
    ...more,
  }
}

export function backend(nsName: string, weight = 1, more: Partial<RouteBackend> = {}): RouteBackend {
  const [namespace = '', name = ''] = nsName.split('/')
  return { weight, filters: [], service: { namespace, name, port: 80 }, ...more }
}

export function match(path: string, more: Partial<RouteMatch> = {}): RouteMatch {
  const [type = '', value = ''] = path.split(' ')
  if (type !== 'Exact' && type !== 'PathPrefix' && type !== 'RegularExpression') throw new Error(`bad path ${path}`)
  return { path: { type, value }, headers: [], query: [], ...more }
}

export function rule(more: Partial<RouteRule> = {}): RouteRule {
  return { matches: [match('PathPrefix /')], filters: [], backends: [backend('shop/web')], ...more }
}

/** Bound to Service shop/web, all ports, unless told otherwise. */
export function route(nsName: string, rules: readonly RouteRule[], more: Partial<HttpRoute> = {}): HttpRoute {
  const [namespace = '', name = ''] = nsName.split('/')
  return {
    kind: 'http-route',
    namespace,
    name,
    createdAt: '2026-01-01T00:00:00Z',
    parents: [{ service: { namespace: 'shop', name: 'web' } }],
    hostnames: [],
    rules,
    ...more,
  }
}

export function worldOf(...objects: readonly MeshObject[]): World {
  const world = new World()
  world.apply({ version: 1, reset: true, upsert: objects, remove: [] })
  return world
}

export function snapshotOf(...objects: readonly MeshObject[]): Snapshot {
  return worldOf(...objects).snapshot
}

export interface FactsInput {
  readonly method?: string
  readonly path?: string
  readonly query?: string
  readonly authority?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** `asked` collects the names of headers that were asked for. */
export function facts(input: FactsInput = {}, asked: string[] = []): HttpFacts {
  const headers = new Map(Object.entries(input.headers ?? {}))
  return {
    method: input.method ?? 'GET',
    path: input.path ?? '/',
    query: input.query ?? '',
    authority: input.authority ?? 'web.shop',
    header(name) {
      asked.push(name)
      return headers.get(name)
    },
  }
}

/** The Service and port of a request; throws when the fixture has no such Service or port. */
export function calling(
  snapshot: Snapshot,
  nsName = 'shop/web',
  port = 80,
  client?: Workload,
): { client: Workload | undefined; service: MeshService; port: MeshService['ports'][number] } {
  const found = snapshot.service(nsName)
  const foundPort = found?.ports.find((known) => known.port === port)
  if (found === undefined || foundPort === undefined) throw new Error(`fixture has no ${nsName}:${port}`)
  return { client, service: found, port: foundPort }
}
