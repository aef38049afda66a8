/** A routing decision in words: runs `decideRoute` itself and reports each of its steps. */
import { type HeaderEdit, type HttpFacts, isMeshName, REFUSAL, ROUTE_KIND } from '#contract'
import type { Snapshot } from '#mesh'
import { usableEndpoints } from './balance.ts'
import { type Condition, valueFor } from './condition.ts'
import { decideRoute } from './decide-route.ts'
import { type FailDecision, type RouteDecision, rewriteTarget } from './decision.ts'
import { durationWords } from './duration-words.ts'
import { explainTraffic } from './explain-traffic.ts'
import { explainVersion } from './explain-version.ts'
import { routeFacts } from './mesh-facts.ts'
import type { Share } from './outcome.ts'
import { bindsPort, type RouteGroup, type RouteRequest, routeGroupOf } from './route-group.ts'
import type { Candidate } from './route-index.ts'

/** One sentence per step, in order; the last ones say what `decideRoute` answers for the same arguments. */
export function explainRoute(
  snapshot: Snapshot,
  request: RouteRequest,
  facts: HttpFacts,
  random: number,
): readonly string[] {
  const lines: string[] = []
  const { client, service, port } = request
  const serviceName = `${service.namespace}/${service.name}`
  const caller = client === undefined ? 'An unknown client' : `Workload ${client.namespace}/${client.name}`
  lines.push(`${caller} calls Service ${serviceName}, port ${port.port}${port.name === '' ? '' : ` (${port.name})`}.`)
  const group = routeGroupOf(snapshot, request)
  lines.push(...explainGroup(snapshot, request, group))
  let chosen: Candidate | undefined
  const seen = routeFacts(group, request, facts)
  const decision = decideRoute(snapshot, request, facts, random, {
    considered(candidate, failed) {
      if (failed === undefined) chosen = candidate
      else lines.push(`${nameOf(candidate)} does not match: ${explainFailure(failed, seen)}.`)
    },
  })
  if (chosen !== undefined) {
    lines.push(`${nameOf(chosen)} matches and decides.`, ...explainMeshFacts(chosen, seen))
    const shares = group.sharesOf(chosen)
    for (const share of shares.list) lines.push(explainShare(share, shares.total))
    const { session } = chosen.rule ?? {}
    if (session !== undefined) {
      lines.push(
        `Requests that bring the ${session.type.toLowerCase()} ${session.name} of an earlier answer go to the same endpoint, whatever the weights.`,
      )
    }
  }
  const isGrpc = port.protocol === 'grpc' || group.routes.some(({ kind }) => kind === 'grpc-route')
  lines.push(...explainDecision(snapshot, decision, facts, isGrpc))
  return lines
}

function explainGroup(snapshot: Snapshot, request: RouteRequest, group: RouteGroup): string[] {
  const { service, port } = request
  const lines: string[] = []
  for (const route of snapshot.routesOf(`${service.namespace}/${service.name}`)) {
    const name = `${ROUTE_KIND[route.kind]} ${route.namespace}/${route.name}`
    if (!bindsPort(route, service, port)) lines.push(`${name} binds another port of the Service.`)
    else if (!group.routes.includes(route)) {
      if (group.routes.some(({ kind, namespace }) => kind === 'grpc-route' && namespace === route.namespace)) {
        lines.push(`${name} does not apply: a GRPCRoute binds this port, and only routes of one kind can.`)
        continue
      }
      lines.push(
        route.namespace === service.namespace
          ? `${name} is a producer route: the consumer routes of the client's own namespace replace it.`
          : `${name} is a consumer route: it binds clients in namespace ${route.namespace} only.`,
      )
    } else if (route.hostnames.length > 0) {
      lines.push(`Hostnames of ${name} do not count: a route with a Service as parent binds by ClusterIP.`)
    }
  }
  if (group.index === undefined) lines.push('No route applies.')
  else {
    const names = group.routes.map((route) => `${route.namespace}/${route.name}`).join(', ')
    lines.push(
      `The ${group.role} routes apply: ${names} (${group.index.size} ${group.index.size === 1 ? 'match' : 'matches'}; only those for this path are tried).`,
    )
  }
  return lines
}

function nameOf(candidate: Candidate): string {
  const rule = candidate.ruleName === undefined ? '' : `, rule ${candidate.ruleName}`
  return `${ROUTE_KIND[candidate.route.kind]} ${candidate.route.namespace}/${candidate.route.name}${rule} (${candidate.path})`
}

function explainFailure(condition: Condition, facts: HttpFacts): string {
  const subject =
    condition.what === 'method'
      ? 'the method'
      : condition.what === 'header'
        ? `header ${condition.name}`
        : `query parameter ${condition.name}`
  const wanted = condition.regex === undefined ? `be "${condition.value}"` : `match the expression ${condition.value}`
  const value = valueFor(condition, facts)
  return `${subject} must ${wanted}, but ${value === undefined ? 'is absent' : `is "${value}"`}`
}

/** What the mesh knows of the request and the match looked at. */
function explainMeshFacts({ conditions }: Candidate, facts: HttpFacts): string[] {
  return conditions
    .filter(({ what, name }) => what === 'header' && isMeshName(name))
    .map((condition) => `The mesh knows of this request: ${condition.name} is "${valueFor(condition, facts) ?? ''}".`)
}

function explainShare(share: Share, total: number): string {
  const percent = `${Number(((share.weight / total) * 100).toFixed(2))} % of its requests`
  const { outcome } = share
  switch (outcome.kind) {
    case 'forward': {
      const usable = usableEndpoints(outcome.endpoints).length
      return `${percent} go to ${share.backend} (${usable} of ${outcome.endpoints.length} endpoints usable).`
    }
    case 'redirect-plan':
      return `${percent} are redirected.`
    case 'fail':
      return `${percent} fail with ${failureWords(outcome, false)}`
  }
}

/** A reason may end in a question. */
function sentence(text: string): string {
  return text.endsWith('?') ? text : `${text}.`
}

/** Of a request that no rule matches, or whose backend cannot be: as the Gateway API has it for GRPCRoutes. */
function failureWords({ refusal, why }: FailDecision, isGrpc: boolean): string {
  const grpc = refusal === 'noRoute' ? 'UNIMPLEMENTED' : 'UNAVAILABLE'
  return sentence(`${REFUSAL[refusal].status}${isGrpc ? ` (${grpc} for gRPC)` : ''}: ${why}`)
}

function explainDecision(snapshot: Snapshot, decision: RouteDecision, facts: HttpFacts, isGrpc: boolean): string[] {
  switch (decision.kind) {
    case 'fail':
      return [`This request fails with ${failureWords(decision, isGrpc)}`]
    case 'redirect':
      return [`This request is answered ${decision.status} with Location ${decision.location}.`]
    case 'preflight':
      return [
        `This request is a CORS preflight: it is answered ${decision.status} with ${corsWords(decision.responseEdits)}.`,
      ]
    case 'forward': {
      const { service, port } = decision
      const usable = usableEndpoints(decision.endpoints).length
      const lines = [
        `This request goes to Service ${service.namespace}/${service.name}, port ${port} (${usable} of ${decision.endpoints.length} endpoints usable).`,
      ]
      if (usable === 0) lines.push(`It fails with ${REFUSAL.noEndpoint.status}: the Service has no usable endpoint.`)
      if (decision.rewrites) lines.push(`Its target becomes ${rewriteTarget(decision, facts)}.`)
      if (decision.hostname !== undefined) lines.push(`Its Host becomes ${decision.hostname}.`)
      if (decision.requestTimeoutMs !== undefined)
        lines.push(`The whole request may take ${durationWords(decision.requestTimeoutMs)}.`)
      if (decision.backendRequestTimeoutMs !== undefined) {
        const subject = decision.retry === undefined ? 'The request to the backend' : 'Each try'
        lines.push(`${subject} may take ${durationWords(decision.backendRequestTimeoutMs)}.`)
      }
      if (decision.cors !== undefined)
        lines.push(`Its answer is marked for origins ${decision.cors.origins.join(', ')} (CORS).`)
      lines.push(...explainVersion(decision, facts), ...explainTraffic(snapshot, decision))
      return lines
    }
  }
}

function corsWords(edits: readonly HeaderEdit[]): string {
  const told = edits.flatMap(({ set }) => set).filter(({ name }) => name.startsWith('access-control-'))
  const texts = told.map(({ name, value }) => `${name}: ${value}`)
  return texts.length === 0 ? 'no permission for its origin' : texts.join('; ')
}
