/**
 * Where a connection goes that is no HTTP: TLSRoutes decide those that speak TLS, by server name, TCPRoutes all others.
 * Pure, and kept per snapshot; without a route of either kind it costs one look-up.
 */
import type { MeshService, ReferenceGrant, ServerName, StreamBackend, StreamRoute } from '#contract'
import type { Snapshot } from '#mesh'
import { bindsPort, type RouteRequest } from './route-group.ts'

export type StreamDecision =
  | {
      readonly kind: 'forward'
      readonly route: string
      readonly rule: string
      readonly service: MeshService
      readonly port: number
    }
  | {
      readonly kind: 'fail'
      readonly route: string | undefined
      readonly rule: string | undefined
      readonly why: string
    }

export interface StreamShare {
  readonly weight: number
  readonly decision: StreamDecision
}

/** What the routes of one client and Service port say. */
export interface StreamRoutes {
  /** The most specific name first, and of equal ones the oldest. */
  readonly byName: readonly { readonly hostname: string; readonly shares: readonly StreamShare[] }[]
  /** Of TCPRoutes; undefined without one. */
  readonly others: readonly StreamShare[] | undefined
  /** `namespace/name` of all that apply. */
  readonly tlsNames: readonly string[]
  readonly tcpNames: readonly string[]
}

const SLOT = Symbol('stream routes')

/** Undefined when none binds the port for this client. */
export function streamRoutesOf(snapshot: Snapshot, request: RouteRequest): StreamRoutes | undefined {
  const { client, service, port } = request
  const nsName = `${service.namespace}/${service.name}`
  const attached = snapshot.streamRoutesOf(nsName)
  if (attached.length === 0) return undefined
  const key = `${nsName}:${port.port} ${client?.namespace ?? ''}`
  const { found } = snapshot.derived(SLOT, key, () => ({ found: compile(snapshot, request, attached) }))
  return found
}

/**
 * Undefined where no route has a say. `random` in [0, 1) decides between weighted backends. A name that is not
 * certain (null) is no name: it matches nothing.
 */
export function decideStream(
  routes: StreamRoutes | undefined,
  serverName: ServerName,
  random: number,
): StreamDecision | undefined {
  return routes === undefined ? undefined : pick(sharesFor(routes, serverName), random)
}

function sharesFor({ byName, others, tlsNames }: StreamRoutes, serverName: ServerName): readonly StreamShare[] {
  if (serverName !== undefined && byName.length > 0) {
    const found = byName.find(({ hostname }) => hostname === '' || matchesHost(hostname, serverName ?? ''))
    return found?.shares ?? [{ weight: 1, decision: unmatched(serverName, tlsNames) }]
  }
  return others ?? [{ weight: 1, decision: unmatched(serverName, tlsNames) }]
}

/** All that may become of such a connection, and the reasoning in sentences. */
export function explainStreamRoutes(
  routes: StreamRoutes,
  serverName: ServerName,
): { readonly shares: readonly { percent: number; decision: StreamDecision }[]; readonly steps: readonly string[] } {
  const shares = sharesFor(routes, serverName)
  const total = shares.reduce((sum, { weight }) => sum + weight, 0)
  const steps: string[] = []
  if (routes.tlsNames.length > 0) {
    const names = routes.byName.map(({ hostname }) => (hostname === '' ? 'any name' : hostname)).join(', ')
    steps.push(`The TLSRoutes ${routes.tlsNames.join(', ')} apply to TLS: in this order ${names}.`)
  }
  if (routes.tcpNames.length > 0) {
    const [name, ...others] = routes.tcpNames
    const rest = others.length === 0 ? '' : `; ${others.join(', ')} came later and does not`
    const what = routes.tlsNames.length === 0 ? 'connections that no HTTPRoute decides' : 'what is no TLS'
    steps.push(`TCPRoute ${name} applies to ${what}${rest}.`)
  }
  const told = shares.map(({ weight, decision }) => {
    const percent = Number(((weight / total) * 100).toFixed(2))
    steps.push(
      decision.kind === 'fail'
        ? `${percent} % of these connections are reset: ${decision.why}.`
        : `${percent} % of these connections go to ${decision.service.namespace}/${decision.service.name}:${decision.port} by ${decision.route}, rule ${decision.rule}.`,
    )
    return { percent, decision }
  })
  return { shares: told, steps }
}

/** `*.` stands for one or more labels (Gateway API, Hostname). */
export function matchesHost(hostname: string, name: string): boolean {
  if (!hostname.startsWith('*.')) return hostname === name
  return name.length > hostname.length - 1 && name.endsWith(hostname.slice(1))
}

/** Exact names before wildcards, of those the longer one first, what takes all last. */
export function compareHosts(a: string, b: string): number {
  const wild = Number(a.startsWith('*.')) - Number(b.startsWith('*.'))
  if ((a === '') !== (b === '')) return a === '' ? 1 : -1
  return wild === 0 ? b.length - a.length : wild
}

function unmatched(serverName: ServerName, names: readonly string[]): StreamDecision {
  const what =
    serverName === undefined
      ? 'the connection is no TLS'
      : serverName === null
        ? 'the server name cannot be told for certain'
        : serverName === ''
          ? 'the client names no server'
          : `no hostname is ${serverName}`
  return { kind: 'fail', route: undefined, rule: undefined, why: `no TLSRoute matches (${names.join(', ')}): ${what}` }
}

function pick(shares: readonly StreamShare[], random: number): StreamDecision | undefined {
  let left = random * shares.reduce((sum, { weight }) => sum + weight, 0)
  for (const { weight, decision } of shares) {
    left -= weight
    if (left < 0) return decision
  }
  return shares.at(-1)?.decision
}

function compile(
  snapshot: Snapshot,
  { client, service, port }: RouteRequest,
  attached: readonly StreamRoute[],
): StreamRoutes | undefined {
  const bound = attached.filter((route) => bindsPort(route, service, port))
  // As HTTPRoutes: where the client's namespace has routes of its own, the producer's do not apply.
  const ofKind = (kind: StreamRoute['kind']): readonly StreamRoute[] => {
    const all = bound.filter((route) => route.kind === kind)
    const consumer = all.filter(({ namespace }) => namespace !== service.namespace && namespace === client?.namespace)
    return consumer.length > 0 ? consumer : all.filter(({ namespace }) => namespace === service.namespace)
  }
  const [tls, tcp] = [ofKind('tls-route'), ofKind('tcp-route')]
  if (tls.length === 0 && tcp.length === 0) return undefined
  const byName = tls.flatMap((route) => {
    const shares = sharesOf(snapshot, service, route)
    return (route.invalid === undefined ? route.hostnames : ['']).map((hostname) => ({ hostname, shares }))
  })
  const [oldest] = tcp
  return {
    byName: byName.sort((a, b) => compareHosts(a.hostname, b.hostname)),
    others: oldest === undefined ? undefined : sharesOf(snapshot, service, oldest),
    tlsNames: tls.map(({ namespace, name }) => `${namespace}/${name}`),
    tcpNames: tcp.map(({ namespace, name }) => `${namespace}/${name}`),
  }
}

/** Never empty. */
function sharesOf(snapshot: Snapshot, parent: MeshService, route: StreamRoute): readonly StreamShare[] {
  const name = `${route.namespace}/${route.name}`
  const [rule] = route.rules
  const ruleName = rule?.name ?? '0'
  const fail = (why: string): StreamDecision => ({ kind: 'fail', route: name, rule: ruleName, why })
  if (route.invalid !== undefined) return [{ weight: 1, decision: fail(`the route is invalid: ${route.invalid}`) }]
  const shares = (rule?.backends ?? [])
    .filter(({ weight }) => weight > 0)
    .map((backend): StreamShare => {
      const { namespace, name: target, port } = backend.service
      const service = snapshot.service(`${namespace}/${target}`)
      const wrong = backendFault(snapshot, parent, route, backend, service)
      const decision: StreamDecision =
        wrong === undefined && service !== undefined
          ? { kind: 'forward', route: name, rule: ruleName, service, port }
          : fail(wrong ?? '')
      return { weight: backend.weight, decision }
    })
  return shares.length > 0 ? shares : [{ weight: 1, decision: fail('all backends have weight 0') }]
}

function backendFault(
  snapshot: Snapshot,
  parent: MeshService,
  route: StreamRoute,
  backend: StreamBackend,
  service: MeshService | undefined,
): string | undefined {
  const { namespace, name, port } = backend.service
  const label = `backend Service ${namespace}/${name}`
  if (backend.invalid !== undefined) return backend.invalid
  const kind = route.kind === 'tls-route' ? 'TLSRoute' : 'TCPRoute'
  const isOwn = namespace === route.namespace || (namespace === parent.namespace && name === parent.name)
  if (!isOwn && !snapshot.grants(namespace).some((grant) => grants(grant, kind, route.namespace, name))) {
    return `${label}: no ReferenceGrant in ${namespace} lets ${kind}s of ${route.namespace} refer to it`
  }
  if (service === undefined) return `${label} does not exist`
  return service.ports.some((known) => known.port === port) ? undefined : `${label} has no port ${port}`
}

function grants(grant: ReferenceGrant, kind: string, from: string, name: string): boolean {
  return (
    grant.from.some((one) => one.kind === kind && one.namespace === from) &&
    grant.to.some((one) => one.kind === 'Service' && (one.name === undefined || one.name === name))
  )
}
