/**
 * Which endpoint of a Service a request, a copy of one, or a connection goes to: of the family that the client speaks, that
 * of its session first, and otherwise as the flow, or the default, balances.
 */
import type { Endpoint, MeshService } from '#contract'
import { type EndpointLoad, type ForwardDecision, pickBy, pickEndpoint, usableEndpoints } from '#routing'
import { BALANCING_DEFAULT, without } from './endpoint-choice.ts'
import type { Flow } from './flow.ts'
import type { Flows } from './flows.ts'
import type { HttpExchange } from './http-exchange.ts'
import type { Pod } from './pod.ts'
import type { SessionState, Sessions } from './sessions.ts'
import type { Targets } from './targets.ts'

/** What is known of endpoints. */
interface PickHost {
  readonly targets: Pick<Targets, 'loadOf'>
  readonly flows: Flows
  readonly sessions: Sessions
  /** Monotonic milliseconds. */
  now(): number
}

/** Per list: its IPv4 and its IPv6 endpoints; the list itself where that makes no difference. */
const byFamily = new WeakMap<readonly Endpoint[], readonly [readonly Endpoint[], readonly Endpoint[]]>()

/** A dual-stack Service's endpoints of one family, as its ClusterIP of that family has them; all if there are none. */
function ofFamily(endpoints: readonly Endpoint[], six: boolean): readonly Endpoint[] {
  let lists = byFamily.get(endpoints)
  if (lists === undefined) {
    const v6 = endpoints.filter((endpoint) => endpoint.address.includes(':'))
    const v4 = endpoints.filter((endpoint) => !endpoint.address.includes(':'))
    lists = v4.length === 0 || v6.length === 0 ? [endpoints, endpoints] : [v4, v6]
    byFamily.set(endpoints, lists)
  }
  return lists[six ? 1 : 0]
}

/** Undefined when none is usable. What is chosen is kept in the request's session. @param six the client speaks IPv6 */
export function endpointOfRequest(
  host: PickHost,
  decision: ForwardDecision,
  six: boolean,
  flow: Flow | undefined,
  exchange: HttpExchange,
): Endpoint | undefined {
  const endpoints = ofFamily(decision.endpoints, six)
  const { session } = exchange
  const endpoint =
    (session && pinned(host, session, endpoints, flow, exchange)) ?? balanced(host, endpoints, flow, exchange)
  if (session !== undefined && endpoint !== undefined) session.chosen = { decision, endpoint }
  return endpoint
}

/** The endpoint of the request's session, as long as it would get requests at all. */
function pinned(
  host: PickHost,
  session: SessionState,
  endpoints: readonly Endpoint[],
  flow: Flow | undefined,
  { avoided }: HttpExchange,
): Endpoint | undefined {
  const { sessions, targets } = host
  const endpoint = sessions.endpointOf(session, endpoints)
  if (endpoint === undefined || avoided.includes(targets.loadOf(endpoint))) return undefined
  const available = flow === undefined ? usableEndpoints(endpoints) : flow.available(endpoints, host.now())
  return available.includes(endpoint) ? endpoint : undefined
}

function balanced(
  host: PickHost,
  endpoints: readonly Endpoint[],
  flow: Flow | undefined,
  exchange: HttpExchange,
): Endpoint | undefined {
  const { loadOf } = host.targets
  const { avoided } = exchange
  const usable = usableEndpoints(endpoints)
  // The clock is not looked at where there is nothing to choose.
  if (flow === undefined && usable.length <= 1) return usable[0]
  const now = host.now()
  if (flow !== undefined) return flow.pick(endpoints, exchange, now)
  if (avoided.length === 0) return pickEndpoint(endpoints, loadOf, now, Math.random)
  const facts = { now, random: Math.random, turn: 0, hashKey: undefined }
  return pickBy(BALANCING_DEFAULT, without(usable, avoided, loadOf), loadOf, facts)
}

/** Of a copy: any but those that have failed it. */
export function endpointOfCopy(
  host: PickHost,
  endpoints: readonly Endpoint[],
  six: boolean,
  avoided: readonly EndpointLoad[],
): Endpoint | undefined {
  const { loadOf } = host.targets
  const usable = usableEndpoints(ofFamily(endpoints, six))
  const facts = { now: host.now(), random: Math.random, turn: 0, hashKey: undefined }
  return pickBy(BALANCING_DEFAULT, without(usable, avoided, loadOf), loadOf, facts)
}

/** Of a connection of another protocol than HTTP. */
export function endpointOfConnection(
  host: PickHost,
  pod: Pod,
  service: MeshService,
  port: number,
  six: boolean,
): Endpoint | undefined {
  const endpoints = service.endpoints[port]
  if (endpoints === undefined) return undefined
  const now = host.now()
  const healthy = host.flows.healthyOf(pod, service, port, ofFamily(endpoints, six), now)
  return pickEndpoint(healthy, host.targets.loadOf, now, Math.random)
}
