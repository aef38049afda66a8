/**
 * What would become of a request: the same functions that decide for the proxies are asked about it, for every
 * backend that it could reach. Nothing is sent.
 */
import { isIP } from 'node:net'
import type { Endpoint, HttpFacts, MeshService, OutboundTrafficPolicy, Refusal, ServicePort, Workload } from '#contract'
import { REFUSAL } from '#contract'
import type { Snapshot } from '#mesh'
import type { Candidate, RouteDecision, RouteRequest } from '#routing'
import {
  decideEgress,
  decideRoute,
  explainRoute,
  explainStreamRoutes,
  forwardedFacts,
  streamRoutesOf,
  usableEndpoints,
} from '#routing'
import type { Ejection, IdentityState, Unhealthy } from './backend.ts'
import { explainNodes } from './explain-nodes.ts'
import type { Caller, EndpointExplanation } from './explain-policy.ts'
import { explainEndpoint } from './explain-policy.ts'
import type { ExplainQuery } from './explain-query.ts'
import { requestFacts } from './explained-facts.ts'
import type { Target } from './target.ts'
import { resolveTarget } from './target.ts'

export interface Explanation {
  readonly from: string
  readonly to: string
  /** What the address is, in words. */
  readonly destination: string
  /** `namespace/name` of the HTTPRoute; empty when none applies. */
  readonly route: string
  readonly rule: string
  readonly backends: readonly BackendExplanation[]
  /** The whole of it in sentences. */
  readonly steps: readonly string[]
}

export interface BackendExplanation {
  /** `namespace/name:port`, or the pod; empty for a share that reaches no backend. */
  readonly service: string
  /** Share of the requests, 0 … 100. */
  readonly percent: number
  readonly outcome: 'forward' | 'redirect' | 'preflight' | 'fail'
  /** Of an answer that the mesh gives itself: its status, and the reason or location. */
  readonly detail: string
  readonly endpoints: readonly EndpointExplanation[]
}

/** What this node knows beside the world. */
export interface KnownHere {
  readonly identities?: readonly IdentityState[]
  /** Whether the pod of that uid asks its own DNS server (`weir.dev/dns: disabled`). */
  readonly asksOwnDns?: (uid: string) => boolean
  /** Of pods for which nothing else is said. */
  readonly outboundTrafficPolicy?: OutboundTrafficPolicy
  /** By the proxies of this node. */
  readonly ejections?: readonly Ejection[]
  readonly unhealthy?: readonly Unhealthy[]
}

/** The explanation, or one line saying that the client is not known. */
export function explain(
  snapshot: Snapshot,
  trustDomain: string,
  query: ExplainQuery,
  known: KnownHere = {},
): Explanation | string {
  const { identities = [], asksOwnDns = () => false, ejections = [], unhealthy = [] } = known
  const { outboundTrafficPolicy = 'ALLOW_ANY' } = known
  const client = snapshot.workload(query.from)
  if (client === undefined) return `Pod ${query.from} is not known to the mesh; weir pods lists those of this node`
  const { to } = query
  const port = to.port === '' ? (to.protocol === 'https:' ? 443 : 80) : Number(to.port)
  const target = resolveTarget(snapshot, client, to.hostname, port)
  const world: World = {
    snapshot,
    caller: { workload: client, trustDomain },
    query,
    facts: requestFacts(query),
    registryOnly: (client.outbound ?? outboundTrafficPolicy) === 'REGISTRY_ONLY',
  }
  const found = explainTarget(world, target)
  const reached = found.backends.flatMap(({ endpoints }) => endpoints.filter(({ usable }) => usable))
  const nodes = reached.map((endpoint) => explainNodes(snapshot, world.caller, endpoint, identities))
  const ownDns = isIP(to.hostname.replace(/^\[|\]$/g, '')) === 0 && asksOwnDns(client.uid)
  return {
    from: query.from,
    to: `${query.method} ${to.href}`,
    destination: target.words,
    route: found.route,
    rule: found.rule,
    backends: found.backends,
    steps: [
      ...(ownDns ? [OWN_DNS] : []),
      `${target.words}.`,
      ...clientSteps(client, world.facts),
      ...found.steps,
      ...ejectionSteps(found.backends, query.from, ejections),
      ...unhealthySteps(found.backends, client, unhealthy),
      ...found.backends.flatMap(backendSteps),
      ...new Set(nodes.filter((line) => line !== undefined)),
    ],
  }
}

const OWN_DNS =
  'This pod asks its own DNS server (weir.dev/dns: disabled): what follows holds if that knows the name as the mesh does.'

interface World {
  readonly snapshot: Snapshot
  readonly caller: Caller
  readonly query: ExplainQuery
  readonly facts: HttpFacts | undefined
  /** The client may only call what is declared. */
  readonly registryOnly: boolean
}

interface Found {
  readonly route: string
  readonly rule: string
  readonly backends: readonly BackendExplanation[]
  readonly steps: readonly string[]
}

const NOTHING: Found = { route: '', rule: '', backends: [], steps: [] }

function explainTarget(world: World, target: Target): Found {
  const { destination, address, port } = target
  switch (destination.kind) {
    case 'unknown':
      return explainOutside(world, target)
    case 'service-port-unknown': {
      if (!world.caller.workload.optedIn) return NOTHING
      const { namespace, name } = destination.service
      return refused(world.facts, REFUSAL.noRoute, `Service ${namespace}/${name} has no port ${port}`)
    }
    case 'workload': {
      const { namespace, name } = destination.workload
      const endpoint = { address: address ?? '', port, workload: `${namespace}/${name}` }
      const explained = explainEndpoint(world.snapshot, world.caller, endpoint, true, world.facts, world.query.sni)
      const backend = forwarded(`${endpoint.workload}:${port}`, 100, [explained])
      return { ...NOTHING, backends: [backend], steps: ['Calls to a pod’s own address are not routed.'] }
    }
    case 'service':
      return explainService(world, destination.service, destination.port)
  }
}

/** By the name that is asked for, where a ServiceEntry declares it. */
function explainOutside(world: World, { address = '', port }: Target): Found {
  const { snapshot, caller, query, facts, registryOnly } = world
  if (!caller.workload.optedIn) return { ...NOTHING, steps: [AS_IT_IS] }
  const name = facts === undefined ? (query.sni ?? '') : facts.authority
  const speaks = facts !== undefined ? 'http' : query.sni === undefined ? 'other' : 'tls'
  const request = { namespace: caller.workload.namespace, registryOnly, speaks, name, address, port } as const
  const found = decideEgress(snapshot, request)
  switch (found.kind) {
    case 'declared': {
      const { namespace, external } = found.service
      const step = `ServiceEntry ${namespace}/${external?.entry ?? ''} declares ${found.service.name}: its endpoints are where this goes.`
      const service = explainService(world, found.service, found.port)
      return { ...service, steps: [step, ...service.steps] }
    }
    case 'host':
      return {
        ...NOTHING,
        steps: [`${found.service.name} is declared: it goes to ${found.host}, as the name server says.`],
      }
    case 'as-addressed':
      return {
        ...NOTHING,
        steps: [found.service === undefined ? AS_IT_IS : `${found.service.name} is declared. ${AS_IT_IS}`],
      }
    case 'undeclared':
      return refused(
        facts,
        { ...REFUSAL.noRoute, status: 502 },
        `${found.what} is not declared, and the pod may only call what is (REGISTRY_ONLY)`,
      )
  }
}

const AS_IT_IS = 'The connection goes there as it is.'

/** What the mesh refuses whole: a request gets its status, anything else a reset. */
function refused(facts: HttpFacts | undefined, { status }: Refusal, why: string): Found {
  const detail = `${facts === undefined ? 'reset' : status}: ${why}`
  const backend: BackendExplanation = { service: '', percent: 100, outcome: 'fail', detail, endpoints: [] }
  const step =
    facts === undefined ? `The connection is reset: ${why}.` : `This request is answered with ${status}: ${why}.`
  return { ...NOTHING, backends: [backend], steps: [step] }
}

function explainService(world: World, service: MeshService, port: ServicePort): Found {
  const { snapshot, caller, facts } = world
  const opaque = port.protocol === 'tcp' || port.protocol === 'tls'
  const request: RouteRequest = { client: caller.workload, service, port }
  const routed = caller.workload.optedIn && (facts === undefined || opaque) ? explainStream(world, request) : undefined
  if (routed !== undefined) return routed
  if (facts === undefined || opaque || !caller.workload.optedIn) {
    const endpoints = service.endpoints[String(port.port)] ?? []
    const judged = explainEndpoints(world, endpoints, opaque ? undefined : facts)
    if (caller.workload.optedIn && !judged.some(({ usable }) => usable)) {
      return refused(undefined, REFUSAL.noEndpoint, `no healthy endpoint of ${service.namespace}/${service.name}`)
    }
    const backend = forwarded(`${service.namespace}/${service.name}:${port.port}`, 100, judged)
    const why = opaque ? `Port ${port.port} is declared ${port.protocol}: HTTPRoutes do not apply.` : undefined
    return { ...NOTHING, backends: [backend], steps: why === undefined ? [] : [why] }
  }
  let chosen: Candidate | undefined
  const first = decideRoute(snapshot, request, facts, 0, {
    considered(candidate, failed) {
      if (failed === undefined) chosen = candidate
    },
  })
  const shares = sharesOf(chosen)
  const backends = shares.map(({ percent, random }) =>
    explainShare(world, facts, decideRoute(snapshot, request, facts, random), percent),
  )
  const several = backends.length > 1
  const steps = explainRoute(snapshot, request, facts, 0).map((step) =>
    several ? step.replace(/^This request/, 'One of these requests') : step,
  )
  return { route: first.route ?? '', rule: first.rule ?? '', backends, steps }
}

/** Of a connection that is no HTTP: undefined where no TLSRoute and no TCPRoute has a say. */
function explainStream(world: World, request: RouteRequest): Found | undefined {
  const routes = streamRoutesOf(world.snapshot, request)
  if (routes === undefined) return undefined
  const { shares, steps } = explainStreamRoutes(routes, world.query.sni)
  const backends = shares.map(({ percent, decision }): BackendExplanation => {
    if (decision.kind === 'fail') {
      return { service: '', percent, outcome: 'fail', detail: `reset: ${decision.why}`, endpoints: [] }
    }
    const { service, port } = decision
    const judged = explainEndpoints(world, service.endpoints[String(port)] ?? [], undefined)
    return forwarded(`${service.namespace}/${service.name}:${port}`, percent, judged)
  })
  const [first] = shares
  return { route: first?.decision.route ?? '', rule: first?.decision.rule ?? '', backends, steps }
}

/** For each weighted backend, a number in the middle of the range that chooses it. */
function sharesOf(chosen: Candidate | undefined): readonly { readonly percent: number; readonly random: number }[] {
  const rule = chosen?.rule
  const weights = (rule?.backends ?? []).map(({ weight }) => weight).filter((weight) => weight > 0)
  const redirects = rule?.filters.some(({ type }) => type === 'RequestRedirect') === true
  if (weights.length === 0 || redirects || chosen?.problem !== undefined) return [{ percent: 100, random: 0 }]
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let before = 0
  return weights.map((weight) => {
    const random = (before + weight / 2) / total
    before += weight
    return { percent: Number(((weight / total) * 100).toFixed(2)), random }
  })
}

function explainShare(world: World, facts: HttpFacts, decision: RouteDecision, percent: number): BackendExplanation {
  switch (decision.kind) {
    case 'redirect': {
      const detail = `${decision.status} with Location ${decision.location}`
      return { service: '', percent, outcome: 'redirect', detail, endpoints: [] }
    }
    case 'preflight':
      return { service: '', percent, outcome: 'preflight', detail: String(decision.status), endpoints: [] }
    case 'fail': {
      const detail = `${REFUSAL[decision.refusal].status}: ${decision.why}`
      return { service: '', percent, outcome: 'fail', detail, endpoints: [] }
    }
    case 'forward': {
      const arriving = forwardedFacts(decision, facts)
      const { service, port } = decision
      const name = `${service.namespace}/${service.name}:${port}`
      const tls = world.snapshot.backendTls(service, port)
      if (tls?.invalid !== undefined) {
        const detail = `${REFUSAL.connectFailed.status}: BackendTLSPolicy ${tls.namespace}/${tls.name}: ${tls.invalid}`
        return { service: name, percent, outcome: 'fail', detail, endpoints: [] }
      }
      return forwarded(name, percent, explainEndpoints(world, decision.endpoints, arriving))
    }
  }
}

function forwarded(service: string, percent: number, endpoints: readonly EndpointExplanation[]): BackendExplanation {
  if (endpoints.some(({ usable }) => usable)) return { service, percent, outcome: 'forward', detail: '', endpoints }
  const detail = `${REFUSAL.noEndpoint.status}: no endpoint is usable`
  return { service, percent, outcome: 'fail', detail, endpoints }
}

function explainEndpoints(world: World, endpoints: readonly Endpoint[], facts: HttpFacts | undefined) {
  const usable = new Set(usableEndpoints(endpoints))
  const { snapshot, caller, query } = world
  const sni = facts === undefined ? query.sni : undefined
  return endpoints.map((endpoint) => explainEndpoint(snapshot, caller, endpoint, usable.has(endpoint), facts, sni))
}

function ejectionSteps(
  backends: readonly BackendExplanation[],
  pod: string,
  ejections: readonly Ejection[],
): readonly string[] {
  return ejections
    .filter((one) => one.pod === pod && backends.some(({ service }) => service === one.service))
    .map(({ endpoint, service, proxy, leftMs }) => {
      return `Endpoint ${endpoint} of ${service} failed this pod again and again: proxy ${proxy} sends it nothing for another ${leftMs} ms.`
    })
}

function unhealthySteps(
  backends: readonly BackendExplanation[],
  { namespace, serviceAccount }: Workload,
  unhealthy: readonly Unhealthy[],
): readonly string[] {
  const source = `${namespace}/${serviceAccount}`
  return unhealthy
    .filter((one) => one.source === source && backends.some(({ service }) => service === one.service))
    .map(({ endpoint, service, proxy, forMs, why }) => {
      const since = Math.ceil(forMs / 1000)
      return `Endpoint ${endpoint} of ${service} does not pass its health checks for ${since} s (${why}): proxy ${proxy} sends it nothing while enough others do.`
    })
}

function clientSteps(client: Workload, facts: HttpFacts | undefined): string[] {
  const steps: string[] = []
  if (client.quarantine !== undefined) {
    const { allow } = client.quarantine
    const to = allow.length === 0 ? 'nobody' : `${allow.join(', ')} alone`
    steps.push(`The client is in quarantine: it may speak with ${to}, and its DNS queries are refused.`)
  }
  if (!client.optedIn) {
    steps.push('The client has not opted in: its traffic is not routed by the mesh and arrives without an identity.')
  }
  if (facts === undefined)
    steps.push('It is not plain HTTP: it is carried as bytes, and policy judges the connection only.')
  return steps
}

/** Endpoints of equal reasoning are told together; a pod of both families is told once. */
function backendSteps(backend: BackendExplanation): string[] {
  const groups = new Map<string, { readonly steps: readonly string[]; readonly names: string[] }>()
  const told = new Set<string>()
  for (const { workload, address, port, steps, verdict, policy, reason } of backend.endpoints) {
    // By another family the addresses in the reasoning differ, and nothing else, unless its verdict does.
    const pod = [workload, port, verdict, policy, reason].join(' ')
    if (workload !== '' && told.has(pod)) continue
    told.add(pod)
    const key = steps.join('\n')
    const name = `${workload === '' ? address : workload}:${port}`
    const known = groups.get(key)
    if (known === undefined) groups.set(key, { steps, names: [name] })
    else known.names.push(name)
  }
  const lines: string[] = []
  for (const { steps, names } of groups.values()) {
    lines.push(`Policy at ${names.join(', ')}:`, ...steps.map((step) => `  ${step}`))
  }
  return lines
}
